"""Decisions: rules against a plain reading of the table, duplicates against what was planted, all without texts."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from castline.corpus.build import CorpusSummary
from castline.corpus.config import CorpusConfig
from castline.corpus.decide import decide
from castline.corpus.documents import document_id
from castline.corpus.rules.config import RulesConfig
from castline.corpus.tables import read_table
from castline.errors import DataError

from .conftest import SOURCES, configure


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """Measurements and decisions of every document, by id."""
    result = {}
    for path in sorted((out / "measurements").glob("*.parquet")):
        measured, decided = read_table(path).to_pylist(), read_table(out / "decisions" / path.name).to_pylist()
        assert [row["id"] for row in measured] == [row["id"] for row in decided]
        result.update({one["id"]: one | other for one, other in zip(measured, decided, strict=True)})
    return result


def same_python(name: str) -> str:
    return document_id("stdlib", name, 0)


@pytest.fixture
def copy(built: CorpusSummary, tmp_path: Path) -> Path:
    """A corpus directory without any text."""
    for folder in ("measurements", "duplicates"):
        shutil.copytree(built.out / folder, tmp_path / folder)
    return tmp_path


def test_every_decision_follows_from_the_measurements(built: CorpusSummary, config: CorpusConfig) -> None:
    documents = rows(built.out)
    for row in documents.values():
        broken = [
            (rule, row[rule.measurement])
            for rule in config.rules.for_documents(row["kind"], row["language"], row)
            if not rule.bounds.allow(row[rule.measurement])
        ]
        if broken:
            rule, value = broken[0]
            missed = rule.bounds.min if rule.bounds.min is not None and value < rule.bounds.min else rule.bounds.max
            assert (row["kept"], row["rule"], row["value"], row["threshold"]) == (False, rule.name, value, missed)
        elif not row["kept"]:
            assert row["rule"] in ("exact_duplicate", "near_duplicate")
            other = documents[row["duplicate_of"]]
            assert other["kept"]
            assert other["cluster"] == row["cluster"]
        assert (row["split"] in ("train", "held_out")) == row["kept"]
        assert (row["rule"] == "") == row["kept"]


def test_languages_and_short_texts(built: CorpusSummary) -> None:
    chinese = [row for row in rows(built.out).values() if row["source"] == "chinese"]
    assert [row["language"] for row in chinese] == ["zh"] * 4
    assert [row["rule"] for row in chinese] == ["", "", "", "chinese_quality.words"]


def test_planted_duplicates_are_found(built: CorpusSummary) -> None:
    documents = rows(built.out)
    names = ("email/_header_value_parser.py", "same.py", "nearly_same.py")
    original, same, nearly = (documents[same_python(name)] for name in names)
    assert len({row["cluster"] for row in (original, same, nearly)}) == 1
    kept = [row for row in (original, same, nearly) if row["kept"]]
    assert kept == [original], "the longest stays, and of two as long the first"
    assert (same["rule"], nearly["rule"]) == ("exact_duplicate", "near_duplicate")
    assert same["duplicate_of"] == nearly["duplicate_of"] == original["id"]
    pairs = read_table(built.out / "duplicates" / "pairs.parquet").to_pylist()
    exact = [pair for pair in pairs if {pair["first"], pair["second"]} == {original["id"], same["id"]}]
    assert any(pair["similarity"] == 1.0 for pair in exact)
    assert all(pair["similarity"] >= 0.7 for pair in pairs)


def test_one_cluster_keeps_one_document(built: CorpusSummary) -> None:
    kept = Counter(row["cluster"] for row in rows(built.out).values() if row["kept"])
    assert set(kept.values()) == {1}


def test_deciding_again_needs_no_text(copy: Path, built: CorpusSummary, config: CorpusConfig) -> None:
    outcomes = decide(copy, config)
    for path in (built.out / "decisions").iterdir():
        assert (copy / "decisions" / path.name).read_bytes() == path.read_bytes()
    for name, account in built.manifest["sources"].items():
        assert (outcomes[name].dropped, outcomes[name].kept) == (account["dropped"], account["kept"])


def test_another_threshold_decides_otherwise(copy: Path) -> None:
    strict = configure(SOURCES, rules={"gopher_quality": {"words": {"min": 1000}}})
    decide(copy, strict)
    english = [row for row in rows(copy).values() if row["language"] == "en"]
    assert {row["rule"] for row in english if row["words"] < 1000} == {"gopher_quality.words"}
    off = {name: {"enabled": False} for name in RulesConfig.model_fields}
    decide(copy, configure(SOURCES, rules=off))
    assert {row["rule"] for row in rows(copy).values()} == {"", "exact_duplicate", "near_duplicate"}


def test_only_documents_that_pass_the_rules_can_stay_of_a_cluster(copy: Path) -> None:
    documents = rows_of_copy(copy)
    limit = documents[same_python("email/_header_value_parser.py")]["characters"] - 1
    decide(copy, configure(SOURCES, rules={"code_quality": {"characters": {"max": limit}}}))
    after = rows(copy)
    assert after[same_python("email/_header_value_parser.py")]["rule"] == "code_quality.characters"
    assert after[same_python("nearly_same.py")]["kept"], "shorter, so it passes and now stands for the cluster"


def rows_of_copy(out: Path) -> dict[str, dict[str, Any]]:
    tables = [read_table(path) for path in sorted((out / "measurements").glob("*.parquet"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def test_the_first_instead_of_the_longest(copy: Path) -> None:
    decide(copy, configure(SOURCES, dedup={"keep": "first"}))
    cluster = rows(copy)[same_python("same.py")]["cluster"]
    order = [row for row in rows(copy).values() if row["cluster"] == cluster]
    assert [row["kept"] for row in order] == [True, False, False]


def test_missing_measurements_are_named(tmp_path: Path, config: CorpusConfig) -> None:
    with pytest.raises(DataError, match="measurements"):
        decide(tmp_path, config)
