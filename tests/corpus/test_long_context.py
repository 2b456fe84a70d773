"""Long context: the n-gram model against its formula, the filters by hand, and what a build chooses."""

import json
import math
import random
import shutil
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.conftest import SOURCES, configure

from castline import _C
from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.explain import explain_document
from castline.corpus.long_context.config import LongContextConfig
from castline.corpus.long_context.predictability import segment_pairs
from castline.corpus.long_context.select import chosen_documents, long_documents
from castline.corpus.long_context.statistics import statistics
from castline.corpus.manifest import read_account
from castline.corpus.plan import plan_corpus
from castline.corpus.redecide import redecide
from castline.corpus.shards import open_shards
from castline.errors import DataError, RecipeError
from castline.recipe import parse

VOCABULARY = 6
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), max_size=30)


class Slow:
    """The model from its formula: every count is counted anew."""

    def __init__(self, *texts: Sequence[int]) -> None:
        self.texts = [list(text) for text in texts]

    def next_tokens(self, history: list[int]) -> Counter[int]:
        size = len(history)
        found = [
            text[at + size] for text in self.texts for at in range(len(text) - size) if text[at : at + size] == history
        ]
        return Counter(found)

    def probability(self, context: Sequence[int], token: int) -> float:
        p = 1 / VOCABULARY
        for size in range(min(len(context), 2) + 1):
            seen = self.next_tokens(list(context[len(context) - size :]))
            if seen:
                p = (seen[token] + len(seen) * p) / (seen.total() + len(seen))
        return p


def slow_gain(background: Slow, previous: list[int], following: list[int]) -> float:
    gains = []
    for at in range(2, len(following)):
        context, token = following[:at], following[at]
        known = 0.9 * background.probability(context, token)
        after = known + 0.1 * Slow(previous, context).probability(context, token)
        alone = known + 0.1 * Slow(context).probability(context, token)
        gains.append(math.log(after / alone))
    return sum(gains) / len(gains) if gains else 0.0


def trained(texts: list[list[int]]) -> _C.NgramModel:
    model = _C.NgramModel(VOCABULARY)
    for text in texts:
        model.add(text)
    return model


@given(texts=st.lists(TOKENS, max_size=4), context=TOKENS)
def test_probabilities_are_those_of_the_formula(texts: list[list[int]], context: list[int]) -> None:
    model, slow = trained(texts), Slow(*texts)
    found = [model.probability(context, token) for token in range(VOCABULARY)]
    assert found == pytest.approx([slow.probability(context, token) for token in range(VOCABULARY)], rel=1e-12)
    assert sum(found) == pytest.approx(1, rel=1e-12)


@settings(max_examples=50)
@given(texts=st.lists(TOKENS, max_size=3), previous=TOKENS, following=TOKENS)
def test_the_gain_is_that_of_the_formula(texts: list[list[int]], previous: list[int], following: list[int]) -> None:
    both = [*previous, *following]
    segments = np.array([[0, len(previous), len(both)]] * 3)
    for threads in (1, 2):
        gains = trained(texts).context_gains(both, segments, threads=threads)
        assert gains == pytest.approx([slow_gain(Slow(*texts), previous, following)] * 3, rel=1e-9, abs=1e-12)


def test_a_large_model_keeps_its_counts() -> None:
    generator = random.Random(1)
    text = [generator.randrange(2**20) for _ in range(20_000)]
    model = _C.NgramModel(2**20)
    model.add(text)
    assert model.probability([], text[0]) == pytest.approx(
        (text.count(text[0]) + len(set(text)) / 2**20) / (len(text) + len(set(text))), rel=1e-12
    )
    assert all(model.probability(text[at - 2 : at], text[at]) > 0.5 for at in range(2, 20_000, 97))


def test_the_model_refuses_what_is_no_token() -> None:
    model = _C.NgramModel(VOCABULARY)
    with pytest.raises(ValueError, match="ids below 6, but got 6"):
        model.add([0, 6])
    with pytest.raises(ValueError, match="start ≤ middle ≤ end ≤ tokens"):
        model.context_gains([0, 1], np.array([[0, 1, 3]]))
    with pytest.raises(ValueError, match="vocabulary"):
        _C.NgramModel(0)


@given(tokens=st.integers(0, 5000), size=st.integers(1, 600), most=st.integers(1, 9))
def test_pairs_are_neighbours_inside_the_text(tokens: int, size: int, most: int) -> None:
    pairs = segment_pairs(tokens, size, most)
    length = min(size, tokens // 2)
    assert len(pairs) == (min(most, tokens // length - 1) if length else 0)
    assert len({start for start, _, _ in pairs.tolist()}) == len(pairs)
    for start, middle, end in pairs.tolist():
        assert 0 <= start < middle < end <= tokens
        assert middle - start == end - middle == length
    if len(pairs) > 1:
        assert (pairs[0, 0], pairs[-1, 2]) == (0, tokens // length * length), "spread over the whole text"


def test_words_by_hand() -> None:
    english = statistics("It rained; however, we went. Because 17 people, and 3.5% (of 1,200) came: x9!", "en")
    assert english.connective_fraction == pytest.approx(2 / 14)
    assert english.numeric_word_fraction == pytest.approx(3 / 14)
    chinese = statistics("因为下雨，所以我们没有去。但是他来了 42", "zh")  # 16 characters and two spaced words
    assert chinese.connective_fraction == pytest.approx(3 / (16 + 2))
    assert chinese.numeric_word_fraction == pytest.approx(1 / (16 + 2))
    assert statistics("Es regnete, aber wir gingen.", "de").connective_fraction is None
    assert statistics("", "en") == statistics(" \n", "en")


def test_a_source_changes_only_the_bounds_it_names() -> None:
    config = LongContextConfig.model_validate(
        {"rules": {"context_gain": {"min": 0.1}}, "sources": {"books": {"numeric_word_fraction": {"max": 0.5}}}}
    )
    found = {name: bounds for name, _, bounds in config.rules_for("books").rules("text", "en")}
    assert (found["context_gain"].min, found["numeric_word_fraction"].max) == (0.1, 0.5)
    assert found["connective_fraction"] == config.rules.connective_fraction
    assert config.rules_for("web") == config.rules
    assert [name for name, _, _ in config.rules_for("web").rules("code", "python")] == ["context_gain"]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"sources": {"stdlb": {}}}, RecipeError, "did you mean 'stdlib'"),
        ({"rules": {"context_gian": {"min": 0}}}, RecipeError, "context_gain"),
        ({"scorer": "no/package"}, DataError, "castline package or to be 'ngram'"),
    ],
)
def test_a_wrong_table_is_refused_before_anything_is_read(
    data: Path, tmp_path: Path, table: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_corpus(configure(SOURCES, long_context=table), base=data)
    with pytest.raises(error, match=message):
        build_corpus(configure(SOURCES, long_context=table), tmp_path / "out", base=data)
    assert not (tmp_path / "out" / "documents").exists()


TABLES: dict[str, Any] = {
    "seed": 3,
    "tokenizer": {"vocab_size": 2048},
    "long_context": {
        "min_bytes": 6000,
        "segment_tokens": 256,
        "rules": {"context_gain": {"min": 0.02}},
        "sources": {"stdlib": {"context_gain": {"min": 0.1}}},
    },
    "mix": {"phases": [{"name": "long", "short_tokens": 500, "budgets": [{"length": "long", "tokens": 60_000}]}]},
}


@pytest.fixture(scope="module")
def long(data: Path, tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    return build_corpus(configure(SOURCES, **TABLES), tmp_path_factory.mktemp("long") / "out", base=data)


def test_only_chosen_documents_count_as_long(long: CorpusSummary) -> None:
    rows = {row["id"]: row for row in long_documents(long.out)}
    assert all(row["bytes"] >= 6000 for row in rows.values())
    passed = {
        identity
        for identity, row in rows.items()
        if row["context_gain"] >= (0.1 if row["kind"] == "code" else 0.02)
        and (row["kind"] == "code" or (row["connective_fraction"] >= 0.003 and row["numeric_word_fraction"] <= 0.2))
    }
    assert 0 < len(passed) < len(rows)
    read = {span.document_id for span in open_shards(long.out).split("long").spans()}
    assert read <= passed
    for source, account in long.manifest["long_context"]["sources"].items():
        mine = [identity for identity, row in rows.items() if row["source"] == source]
        assert account["documents"] == len(mine)
        assert account["chosen"] == len(passed & set(mine)) == len(mine) - sum(account["refused"].values())


def test_what_belongs_together_gains_more(long: CorpusSummary, data: Path) -> None:
    tokenizer = _C.Tokenizer(long.out / "tokenizer.json")
    texts = sorted(((data / "english").iterdir()), key=lambda path: -path.stat().st_size)
    chapters = [tokenizer.encode(path.read_text(encoding="utf-8")).tolist() for path in texts]
    model = _C.NgramModel(tokenizer.vocab_size)
    for chapter in chapters[8:]:
        model.add(chapter)
    starts, nexts = [one[:800] for one in chapters[:8]], [one[800:1600] for one in chapters[:8]]

    def gain(previous: list[int], following: list[int]) -> float:
        ends = np.array([[0, len(previous), len(previous) + len(following)]])
        return float(model.context_gains(previous + following, ends)[0])

    own = [gain(start, following) for start, following in zip(starts, nexts, strict=True)]
    others = [gain(starts[number - 1], following) for number, following in enumerate(nexts)]
    assert np.mean(own) > 2 * np.mean(others)


def test_the_report_and_explain_show_the_bounds(long: CorpusSummary) -> None:
    report = (long.out / "report.html").read_text()
    assert "long context, stdlib" in report
    refused = next(row for row in long_documents(long.out) if row["kind"] == "code" and row["context_gain"] < 0.1)
    check = next(c for c in explain_document(long.out, refused["id"]).checks if c.rule == "long_context.context_gain")
    assert (check.value, check.min, check.passed) == (refused["context_gain"], 0.1, False)


def test_other_bounds_need_no_other_scores_and_workers_change_nothing(
    long: CorpusSummary, data: Path, tmp_path: Path
) -> None:
    config = parse(CorpusConfig, long.manifest["recipe"], "the manifest")
    again = build_corpus(config, tmp_path / "out", base=data, workers=2)
    assert again.manifest == long.manifest
    other = config.model_copy(update={"long_context": LongContextConfig(min_bytes=6000, segment_tokens=256)})
    rebuilt = build_corpus(other, tmp_path / "out", base=data, force=True)
    assert rebuilt.resumed["long_context"] > 0
    chosen = [
        sum(one["chosen"] for one in built.manifest["long_context"]["sources"].values()) for built in (long, rebuilt)
    ]
    assert chosen[0] < chosen[1]


def test_bounds_alone_are_decided_again(long: CorpusSummary, tmp_path: Path) -> None:
    copy = shutil.copytree(long.out, tmp_path / "copy")
    counts = [one["chosen"] for one in long.manifest["long_context"]["sources"].values()]
    overrides = ["long_context.rules.context_gain.min=0.0", "long_context.sources.stdlib.context_gain.min=0.0"]
    change = redecide(copy, overrides=overrides, dry_run=True)
    assert (change.decisions_changed, change.long_before) == (0, sum(counts))
    assert change.long_after is not None
    assert change.long_after > sum(counts)
    redecide(copy, overrides=overrides)
    config = parse(CorpusConfig, read_account(copy)["recipe"], "the account")
    assert len(chosen_documents(copy, config.long_context or LongContextConfig())[0]) == change.long_after
    for other in ("long_context.min_bytes=5000", 'long_context.scorer="../package"'):
        with pytest.raises(RecipeError, match=r"settings that only decide .*\n.*long_context"):
            redecide(copy, overrides=[other])


def test_the_plan_says_how_much_is_to_be_scored(data: Path) -> None:
    plan = plan_corpus(configure(SOURCES, **TABLES), base=data)
    assert plan.long_documents is not None
    assert plan.long_documents > 10
    assert plan_corpus(configure(SOURCES), base=data).long_documents is None


def test_the_recipe_in_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "corpus.md").read_text(encoding="utf-8")
    example = text.partition("## Long context")[2].partition("```toml")[2].partition("```")[0]
    sources = [{"name": "books", "path": "x"}]
    config = parse(CorpusConfig, {"sources": sources, **tomllib.loads(example)}, "docs/corpus.md")
    assert config.long_context is not None
    assert config.long_context.rules_for("books") != config.long_context.rules
    assert json.dumps(config.model_dump(mode="json"))
