"""Mixing: budgets are exact, repeats are fair, and the order depends on the seed alone."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.mix import budgets, mix
from castline.errors import RecipeError

LENGTHS = st.dictionaries(
    st.sampled_from(["web", "books", "code"]),
    st.lists(st.integers(1, 50), max_size=12).map(lambda lengths: np.array(lengths, dtype=np.int64)),
    min_size=1,
)
# How often one pass reads each document: as many numbers as there can be documents.
TIMES = st.lists(st.sampled_from([1, 1, 2, 3]), min_size=12, max_size=12)
WEIGHT = st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 3.0])
WEIGHTS = st.fixed_dictionaries(dict.fromkeys(("web", "books", "code"), WEIGHT))


def repeated(lengths: dict[str, np.ndarray], times: list[int] | None = None) -> dict[str, np.ndarray]:
    many = times or [1] * 100
    return {source: np.array(many[: len(one)], dtype=np.int64) for source, one in lengths.items()}


def something_to_read(lengths: dict[str, np.ndarray], weights: dict[str, float]) -> bool:
    return any(len(lengths[source]) and weights[source] for source in lengths)


@given(
    lengths=LENGTHS,
    times=TIMES,
    weights=WEIGHTS,
    total=st.none() | st.integers(1, 2000),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_budget_is_met_to_the_token(
    lengths: dict[str, np.ndarray], times: list[int], weights: dict[str, float], total: int | None, seed: int
) -> None:
    repeats = repeated(lengths, times)
    if not something_to_read(lengths, weights):
        with pytest.raises(RecipeError, match="weight 0 or no documents"):
            mix(lengths, repeats, weights, total, seed)
        return
    mixture = mix(lengths, repeats, weights, total, seed)
    length = np.concatenate(list(lengths.values()))
    owner = np.repeat(np.arange(len(lengths)), [len(one) for one in lengths.values()])
    read = {
        source: int(mixture.tokens[owner[mixture.document] == number].sum()) for number, source in enumerate(lengths)
    }
    assert read == mixture.targets
    exact = {source: Fraction(weights[source]) * int((one * repeats[source]).sum()) for source, one in lengths.items()}
    if total is not None:
        assert sum(read.values()) == total
        exact = {source: share * total / sum(exact.values()) for source, share in exact.items()}
    assert all(abs(read[source] - exact[source]) < 1 for source in lengths)

    assert (mixture.tokens >= 1).all()
    assert (mixture.tokens <= length[mixture.document]).all()
    cut = owner[mixture.document[mixture.tokens < length[mixture.document]]]
    assert max(Counter(cut.tolist()).values(), default=0) <= 1, "at most one document of a source is cut"
    read_times = np.bincount(mixture.document, minlength=len(length))
    passes = read_times // np.concatenate(list(repeats.values()))
    for number in range(len(lengths)):
        mine = passes[owner == number]
        assert len(mine) == 0 or mine.max() - mine.min() <= 1, "no document is read two passes more than another"


@given(lengths=LENGTHS, weights=WEIGHTS, seed=st.integers(0, 2**63 - 1))
def test_the_order_depends_on_the_seed_alone(
    lengths: dict[str, np.ndarray], weights: dict[str, float], seed: int
) -> None:
    if not something_to_read(lengths, weights):
        return
    one, two = (mix(lengths, repeated(lengths), weights, None, seed) for _ in range(2))
    assert np.array_equal(one.document, two.document)
    assert np.array_equal(one.tokens, two.tokens)


def test_another_seed_is_another_order() -> None:
    lengths = {"web": np.full(100, 10)}
    one, two = (mix(lengths, repeated(lengths), {"web": 1.0}, None, seed).document for seed in (1, 2))
    assert sorted(one.tolist()) == sorted(two.tolist()) == list(range(100))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, np.arange(100))


def test_weights_are_times_and_a_total_keeps_their_shares() -> None:
    available = {"web": 1000, "books": 100, "code": 7}
    weights = {"web": 0.5, "books": 3.0, "code": 0.0}
    assert budgets(available, weights, None) == {"web": 500, "books": 300, "code": 0}
    assert budgets(available, weights, 8_000_000) == {"web": 5_000_000, "books": 3_000_000, "code": 0}
    assert budgets(available, weights, 1) == {"web": 1, "books": 0, "code": 0}
