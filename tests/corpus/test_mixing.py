"""Mixing: budgets are exact to the token, repeats are capped and fair, and the order depends on the seed alone."""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.corpus.conftest import SOURCES, configure

from castline import _C
from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import read_documents
from castline.corpus.mixing.apportion import apportion
from castline.corpus.mixing.config import Phase
from castline.corpus.mixing.order import order_phase
from castline.corpus.mixing.phases import Pool, group_documents, plan_phase
from castline.corpus.plan import plan_corpus
from castline.corpus.shards import open_shards
from castline.errors import RecipeError
from castline.recipe import parse

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "corpus.md"
NAMES, KINDS, LANGUAGES = ("web", "books", "code"), ("text", "text", "code"), ("en", "zh", "python")
DOCUMENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 60), st.sampled_from([1, 1, 2, 3])),
    min_size=1,
    max_size=40,
)
WEIGHTS = st.fixed_dictionaries(dict.fromkeys(NAMES, st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 3.0])))
SEED = st.integers(0, 2**63 - 1)
CRITERION = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(NAMES),
        "kind": st.sampled_from(["text", "code"]),
        "language": st.sampled_from(LANGUAGES),
        "length": st.sampled_from(["short", "long"]),
    },
).filter(bool)
BUDGETS = st.lists(
    st.tuples(CRITERION, st.integers(0, 300)).map(lambda pair: {**pair[0], "tokens": pair[1]}), max_size=3
)
PHASES = st.builds(
    lambda budgets, rest, repeats: Phase.model_validate(
        {
            "name": "any",
            "budgets": budgets,
            "tokens": sum(budget["tokens"] for budget in budgets) + rest or None,
            "max_repeats": repeats,
            "short_tokens": 20,
        }
    ),
    BUDGETS,
    st.integers(0, 300),
    st.none() | st.integers(1, 5),
)


def make_pool(documents: list[tuple[int, int, int, int]]) -> Pool:
    columns = (np.array(column, dtype=np.int64) for column in zip(*documents, strict=True))
    return Pool(NAMES, KINDS, LANGUAGES, *columns, long_context=np.ones(len(documents), dtype=bool))


@dataclass
class Mixed:
    """A phase as it is read."""

    document: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]

    def read(self, pool: Pool) -> npt.NDArray[np.int64]:
        """How many tokens of every document."""
        found = np.zeros(len(pool), np.int64)
        np.add.at(found, self.document, self.tokens)
        return found


def mix(
    pool: Pool,
    phase: Phase,
    weights: dict[str, float],
    seed: int,
    before: Any = None,
    max_repeats: int | None = None,
) -> Mixed:
    read = np.zeros(len(pool), np.int64) if before is None else before
    groups, member = group_documents(pool, phase, read, max_repeats)
    targets = plan_phase(phase, groups, weights)
    order = order_phase(phase.name, targets, member, pool.tokens, read, seed, max_repeats)
    assert np.array_equal(order.reads(len(pool)), np.bincount(order.document, minlength=len(pool)))
    return Mixed(order.document, order.tokens)


def counts_for(pool: Pool, phase: Phase) -> list[int]:
    """Of every document, the number of its budget: written out, from the definition."""
    result = []
    for source, language, tokens in zip(pool.source, pool.language, pool.tokens, strict=True):
        facts = {"source": NAMES[source], "kind": KINDS[source], "language": LANGUAGES[language]}
        facts["length"] = "short" if tokens <= phase.short_tokens else "long"
        fits = [all(getattr(budget, n) in (None, fact) for n, fact in facts.items()) for budget in phase.budgets]
        result.append(fits.index(True) if True in fits else len(phase.budgets))
    return result


@given(documents=DOCUMENTS, phase=PHASES, weights=WEIGHTS, seed=SEED)
def test_every_budget_is_met_to_the_token_or_refused(
    documents: list[tuple[int, int, int, int]], phase: Phase, weights: dict[str, float], seed: int
) -> None:
    pool = make_pool(documents)
    owner = np.array(counts_for(pool, phase))
    asked = [*(budget.tokens or 0 for budget in phase.budgets), 0]
    if phase.tokens is not None:
        asked[-1] = phase.tokens - sum(asked)
    usable = np.array([weights[NAMES[source]] > 0 for source in pool.source])
    most = [
        int(pool.tokens[usable & (owner == number)].sum()) * (phase.max_repeats or 10**9)
        for number in range(len(asked))
    ]
    try:
        mixed = mix(pool, phase, weights, seed)
    except RecipeError:
        assert not sum(asked) or any(want > there for want, there in zip(asked, most, strict=True))
        return
    read = mixed.read(pool)
    if phase.tokens is not None or phase.budgets:
        assert [int(read[owner == number].sum()) for number in range(len(asked))] == asked
    assert not read[~usable].any()
    assert (mixed.tokens >= 1).all()
    assert (mixed.tokens <= pool.tokens[mixed.document]).all()
    if phase.max_repeats is not None:
        assert np.bincount(mixed.document).max() <= phase.max_repeats


@given(documents=DOCUMENTS, weights=WEIGHTS, total=st.none() | st.integers(1, 2000), seed=SEED)
def test_weights_are_passes_and_a_total_keeps_their_shares(
    documents: list[tuple[int, int, int, int]], weights: dict[str, float], total: int | None, seed: int
) -> None:
    pool = make_pool(documents)
    exact = [Fraction(weights[NAMES[s]]) * int(t * r) for s, _, t, r in documents]
    assume(round(sum(exact)) > 0)
    mixed = mix(pool, Phase(name="train", tokens=total), weights, seed)
    assert int(mixed.tokens.sum()) == (round(sum(exact)) if total is None else total)
    groups = list(zip(pool.source.tolist(), pool.language.tolist(), pool.repeats.tolist(), strict=True))
    scale = int(mixed.tokens.sum()) / sum(exact)
    read, times = mixed.read(pool), np.bincount(mixed.document, minlength=len(pool))
    cut = Counter(groups[one] for one, n in zip(mixed.document, mixed.tokens, strict=True) if n < pool.tokens[one])
    for group in set(groups):
        mine = np.array([one == group for one in groups])
        wanted = scale * sum(value for value, one in zip(exact, groups, strict=True) if one == group)
        assert abs(int(read[mine].sum()) - wanted) < 1
        assert times[mine].max() - times[mine].min() <= 1, "no document is read two passes more than one like it"
        assert cut[group] <= 1


@given(
    total=st.integers(0, 10_000),
    parts=st.lists(st.tuples(st.fractions(0, 50), st.none() | st.integers(0, 2000)), max_size=6),
)
def test_apportioning_is_exact_and_fair(total: int, parts: list[tuple[Fraction, int | None]]) -> None:
    masses, caps = [mass for mass, _ in parts], [cap for _, cap in parts]
    found = apportion(total, masses, caps)
    fits = sum(10**9 if cap is None else cap for mass, cap in parts if mass > 0)
    if found is None:
        assert fits < total
        return
    assert sum(found) == total <= fits
    assert all(n <= (10**9 if cap is None else cap) for n, cap in zip(found, caps, strict=True))
    open_ = [(n, mass) for n, mass, cap in zip(found, masses, caps, strict=True) if mass and n != cap]
    for n, mass in open_:  # what no cap holds back shares in proportion
        assert all(abs(n / mass - m / other) <= 1 / mass + 1 / other for m, other in open_)


@given(documents=DOCUMENTS, seed=SEED)
def test_a_later_phase_first_reads_what_earlier_ones_did_not(
    documents: list[tuple[int, int, int, int]], seed: int
) -> None:
    pool = make_pool([(0, 0, tokens, 1) for _, _, tokens, _ in documents])
    half = Phase(name="first", tokens=max(int(pool.tokens.sum()) // 2, 1))
    weights = {"web": 1.0}
    first = mix(pool, half, weights, seed)
    read = np.bincount(first.document, minlength=len(pool))
    second = mix(pool, half.model_copy(update={"name": "second"}), weights, seed, read)
    unread_left = set(range(len(pool))) - set(first.document.tolist()) - set(second.document.tolist())
    assert not unread_left or not set(first.document.tolist()) & set(second.document.tolist())


@given(
    documents=DOCUMENTS,
    totals=st.lists(st.integers(1, 600), min_size=2, max_size=4),
    most=st.integers(1, 3),
    seed=SEED,
)
def test_repeats_are_capped_over_all_phases(
    documents: list[tuple[int, int, int, int]], totals: list[int], most: int, seed: int
) -> None:
    pool = make_pool(documents)
    weights = dict.fromkeys(NAMES, 1.0)
    read = np.zeros(len(pool), np.int64)
    for number, total in enumerate(totals):
        room = int((pool.tokens * (most - read)).sum())
        phase = Phase(name=f"p{number}", tokens=total, max_repeats=most)
        try:
            mixed = mix(pool, phase, weights, seed, read, most)
        except RecipeError as error:
            assert total > room
            assert f"lets in {room:,}" in str(error)  # noqa: PT017
            return
        assert mixed.tokens.sum() == total <= room
        read = read + np.bincount(mixed.document, minlength=len(pool))
        assert read.max() <= most


def test_another_seed_is_another_order_and_the_same_one_the_same() -> None:
    pool = make_pool([(0, 0, 10, 1)] * 100)
    one, same, other = (mix(pool, Phase(name="train"), {"web": 1.0}, seed).document for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert sorted(one.tolist()) == sorted(other.tolist()) == list(range(100))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, np.arange(100))


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"phases": [{"name": "a", "budgets": [{"kind": "code", "share": 0.5}]}]}, "tokens of phase 'a'"),
        ({"phases": [{"name": "a", "tokens": 9, "budgets": [{"share": 0.5}]}]}, "source, kind, language or length"),
        ({"phases": [{"name": "a", "tokens": 9, "budgets": [{"kind": "code"}]}]}, "but got neither"),
        ({"phases": [{"name": "a", "tokens": 9, "budgets": [{"kind": "code", "tokens": 10}]}]}, "sum to 10"),
        ({"phases": [{"name": "held_out"}]}, "other than 'held_out'"),
        ({"phases": [{"name": "a"}, {"name": "a"}]}, "'a' twice"),
        ({"phases": [{"name": "a"}], "tokens": 5}, "in each of the phases"),
        ({"phases": [{"name": "a", "weights": {"referense": 2.0}}]}, "did you mean 'reference'"),
        (
            {"phases": [{"name": "a", "tokens": 9, "budgets": [{"source": "zz", "share": 1.0}]}]},
            "sources are reference",
        ),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_in_the_recipe(mix: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse(CorpusConfig, {"sources": SOURCES, "mix": mix}, "recipe.toml")


def test_the_recipe_in_the_documentation_is_one() -> None:
    section = DOCUMENTATION.read_text(encoding="utf-8").partition("## Mixture and phases")[2]
    example = section.partition("```toml")[2].partition("```")[0]
    sources = [{"name": name, "path": "x"} for name in ("web", "textbooks")]
    config = parse(CorpusConfig, {"sources": sources, **tomllib.loads(example)}, "docs/corpus.md")
    assert [phase.name for phase in config.mix.resolved()] == ["4k", "32k", "enhancement"]
    assert {phase.max_repeats for phase in config.mix.resolved()} == {4}


PHASED = {
    "max_repeats": 4,
    "shard_tokens": 40_000,
    "phases": [
        {
            "name": "4k",
            "tokens": 120_000,
            "budgets": [{"language": "zh", "tokens": 500}, {"kind": "code", "share": 0.3}],
        },
        {
            "name": "32k",
            "tokens": 50_001,
            "short_tokens": 2000,
            "budgets": [{"length": "short", "share": 0.5}, {"length": "long", "share": 0.5}],
        },
        {"name": "enhancement", "tokens": 9_999, "weights": {"stdlib": 0.0, "chinese": 0.0}},
    ],
}


@pytest.fixture(scope="module")
def phased(data: Path, tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    config = configure(SOURCES, seed=3, tokenizer={"vocab_size": 2048}, mix=PHASED)
    return build_corpus(config, tmp_path_factory.mktemp("phased") / "out", base=data)


def test_the_shards_of_every_phase_hold_what_its_budgets_say(phased: CorpusSummary) -> None:
    shards = open_shards(phased.out)
    assert shards.phases == ["4k", "32k", "enhancement"]
    kinds = {"reference": "text", "chinese": "text", "stdlib": "code"}
    read = {}
    for name in shards.phases:
        by: Counter[str] = Counter()
        for span in shards.split(name).spans():
            by.update(dict.fromkeys((span.source, span.language, kinds[span.source], "all"), span.end - span.start))
        read[name] = by
    assert read["4k"]["all"] == 120_000
    assert read["4k"]["zh"] == 500
    assert read["4k"]["code"] == 36_000
    assert read["enhancement"] == {"reference": 9_999, "text": 9_999, "en": 9_999, "all": 9_999}

    tokenizer = _C.Tokenizer(phased.out / "tokenizer.json")
    parts = sorted((phased.out / "documents").iterdir())
    length = {one.id: len(tokenizer.encode(one.text)) + 1 for part in parts for one in read_documents(part)}
    lengths = Counter[bool]()
    for span in shards.split("32k").spans():
        lengths[length[span.document_id] > 2000] += span.end - span.start
    assert lengths == {False: 25_000, True: 25_001}


def test_the_number_of_workers_changes_no_byte(phased: CorpusSummary, data: Path, tmp_path: Path) -> None:
    config = configure(SOURCES, seed=3, tokenizer={"vocab_size": 2048}, mix=PHASED)
    other = build_corpus(config, tmp_path / "out", base=data, workers=2)
    assert other.manifest == phased.manifest
    files = sorted(path.relative_to(phased.out) for path in (phased.out / "shards").rglob("*") if path.is_file())
    assert len(files) > 10
    assert all((phased.out / path).read_bytes() == (other.out / path).read_bytes() for path in files)


def test_the_account_says_what_the_shards_hold(phased: CorpusSummary) -> None:
    mixture = json.loads((phased.out / "manifest.json").read_text())["mixture"]
    assert [phase["tokens"] for phase in mixture] == [120_000, 50_001, 9_999]
    for phase in mixture:
        assert all(row["planned"] == row["read"] for row in phase["rows"])
        spans = list(open_shards(phased.out).split(phase["phase"]).spans())
        assert phase["entries"] == len(spans)
        for source in ("reference", "chinese", "stdlib"):
            counted = sum(span.end - span.start for span in spans if span.source == source)
            assert counted == sum(row["read"] for row in phase["rows"] if row["source"] == source)
        times = Counter(span.document_id for span in spans)
        assert max(times.values()) <= 4
    total = phased.manifest["totals"]["tokens"]
    assert total["train"] == 180_000
    report = (phased.out / "report.html").read_text()
    assert "32k: 50,001 tokens" in report


def test_more_than_the_repeats_let_in_is_refused(data: Path, phased: CorpusSummary, tmp_path: Path) -> None:
    available = phased.manifest["sources"]["chinese"]["tokens"]["available"]
    budget = {"source": "chinese", "tokens": 4 * available + 1}
    tables = {"seed": 3, "tokenizer": {"vocab_size": 2048}}
    mix = {"max_repeats": 4, "phases": [{"name": "a", "budgets": [budget]}]}
    with pytest.raises(RecipeError, match=f"of 'chinese'.*there are {available:,}.*lets in {4 * available:,}"):
        build_corpus(configure(SOURCES, **tables, mix=mix), tmp_path / "out", base=data)


def test_the_plan_is_told_before_a_build(data: Path) -> None:
    plan = plan_corpus(configure(SOURCES, mix=PHASED), base=data)
    assert [phase.tokens for phase in plan.phases] == [120_000, 50_001, 9_999]
    first = {(row.budget, row.source): row.planned for row in plan.phases[0].rows if row.budget != "code"}
    assert first["zh", "chinese"] == 500
    assert sum(row.planned for row in plan.phases[0].rows if row.kind == "code") == 36_000
    too_much = {"max_repeats": 1, "phases": [{"name": "a", "tokens": 10**9}]}
    (phase,) = plan_corpus(configure(SOURCES, mix=too_much), base=data).phases
    assert "max_repeats = 1" in phase.problem
    once = sum(row.available for row in plan.phases[0].rows)
    phases = [{"name": name, "tokens": once * 2 // 3} for name in ("a", "b")]
    first, second = plan_corpus(configure(SOURCES, mix={"max_repeats": 1, "phases": phases}), base=data).phases
    assert first.problem == ""
    assert "after what earlier phases read" in second.problem
