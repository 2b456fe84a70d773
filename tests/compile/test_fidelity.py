"""The measures themselves: against formulas by hand, and what must hold for any logits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from castline.compile.fidelity import LogitsOf, ReferenceLogits, measure
from castline.compile.golden import make_golden


def replay(logits: list[NDArray[np.float32]]) -> LogitsOf:
    """A backend that gives these logits, sequence after sequence."""
    following = iter(logits)
    return lambda _: next(following)


def reference_of(logits: list[NDArray[np.float32]], seed: int = 0) -> ReferenceLogits:
    length, vocab = logits[0].shape
    return ReferenceLogits(np.random.default_rng(seed).integers(0, vocab, (len(logits), length)), logits)


def random_logits(seed: int, sequences: int, length: int, vocab: int, spread: float) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return [(random.standard_normal((length, vocab)) * spread).astype(np.float32) for _ in range(sequences)]


def test_two_tokens_by_hand() -> None:
    # The checkpoint says 1/2, 1/2 everywhere, the backend 3/4, 1/4; the next token is 0, then 1.
    reference = ReferenceLogits(np.array([[0, 0, 1]]), [np.zeros((3, 2), np.float32)])
    found = measure(replay([np.log(np.array([[3, 1]] * 3, np.float32))]), reference, lambda _: None)
    assert found.tokens == 3
    assert found.mean_kl == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), rel=1e-6)
    assert found.max_kl == found.mean_kl
    assert found.top1_agreement == 1
    perplexity = math.exp(-(math.log(0.75) + math.log(0.25)) / 2)
    assert found.perplexity == pytest.approx(perplexity, rel=1e-5)
    assert found.perplexity_ratio == pytest.approx(perplexity / 2, rel=1e-5)


def test_against_torch() -> None:
    ours, theirs = random_logits(1, 2, 5, 40, 2.0), random_logits(2, 2, 5, 40, 2.0)
    reference = reference_of(ours)
    found = measure(replay(theirs), reference, lambda _: None)
    p, q = (torch.tensor(np.stack(x)).double().log_softmax(-1).view(10, 40) for x in (ours, theirs))
    divergence = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    assert found.mean_kl == pytest.approx(divergence.mean().item(), rel=1e-6)
    assert found.max_kl == pytest.approx(divergence.max().item(), rel=1e-6)
    assert found.top1_agreement == pytest.approx((p.argmax(-1) == q.argmax(-1)).double().mean().item())


def test_adding_a_constant_to_a_backends_logits_changes_nothing() -> None:
    logits = random_logits(3, 1, 4, 30, 3.0)
    found = measure(replay([logits[0] + np.float32(100)]), reference_of(logits), lambda _: None)
    assert found.mean_kl < 1e-9
    assert found.perplexity_ratio == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_backend_is_within_no_bound(value: float) -> None:
    logits = random_logits(4, 1, 4, 100, 1.0)
    broken = logits[0].copy()
    broken[2, 7] = value
    for reference in (reference_of(logits), make_golden(reference_of(logits))):
        found = measure(replay([broken]), reference, lambda _: None)
        assert not found.mean_kl <= 1e9


@given(st.integers(0, 2**32), st.sampled_from([2, 30, 64, 65, 200]), st.sampled_from([0.1, 1.0, 8.0]))
def test_golden_kl_is_at_most_the_whole_kl_and_equal_where_nothing_is_merged(
    seed: int, vocab: int, spread: float
) -> None:
    ours, theirs = random_logits(seed, 1, 3, vocab, spread), random_logits(seed + 1, 1, 3, vocab, spread)
    reference = reference_of(ours)
    whole = measure(replay(theirs), reference, lambda _: None)
    golden = measure(replay(theirs), make_golden(reference), lambda _: None)
    tolerance = 1e-6 * max(1.0, whole.max_kl)
    assert golden.mean_kl <= whole.mean_kl + tolerance
    if vocab <= 64:
        assert golden.mean_kl == pytest.approx(whole.mean_kl, abs=tolerance)
    assert golden.top1_agreement == whole.top1_agreement
    assert golden.perplexity_ratio == pytest.approx(whole.perplexity_ratio, rel=1e-4)
