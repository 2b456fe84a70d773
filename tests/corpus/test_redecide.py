"""Deciding again: no text is read, nothing looks whole that is not, and a build ends as if decided so at once."""

import shutil
from pathlib import Path

import pytest

from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.explain import explain_document
from castline.corpus.manifest import DECIDED, NAME, read_account, read_manifest, recipe_values
from castline.corpus.redecide import redecide
from castline.corpus.sample import sample_documents
from castline.errors import DataError, RecipeError
from castline.recipe import parse

STRICT = "rules.gopher_quality.words.min=1000"


@pytest.fixture
def copy(built: CorpusSummary, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.out, tmp_path / "corpus"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {name: path.read_bytes() for path in files if not (name := str(path.relative_to(folder))).startswith(".")}


def test_a_dry_run_writes_nothing(copy: Path) -> None:
    before = contents(copy)
    change = redecide(copy, overrides=[STRICT], dry_run=True)
    assert contents(copy) == before
    assert change.settings == ["rules.gopher_quality.words.min: 50.0 there, 1000.0 now"]
    assert change.kept_after == change.kept_before - change.newly_dropped + change.newly_kept
    assert change.dropped_after["gopher_quality.words"] > change.dropped_before.get("gopher_quality.words", 0)


def test_what_was_decided_again_is_not_whole_until_it_is_built(
    copy: Path, data: Path, config: CorpusConfig, tmp_path: Path
) -> None:
    change = redecide(copy, overrides=[STRICT])
    with pytest.raises(DataError, match="castline corpus build"):
        read_manifest(copy)
    assert not list((copy / "shards").glob("*"))
    assert sum(read_account(copy)["totals"]["kept"].values()) == change.kept_after
    dropped = sample_documents(copy, rule="gopher_quality.words", count=2)
    assert explain_document(copy, dropped[0].id).rule == "gopher_quality.words"
    assert "decided again" in (copy / "report.html").read_text()

    values = recipe_values(config)
    values["rules"]["gopher_quality"]["words"]["min"] = 1000
    strict = parse(CorpusConfig, values, "recipe.toml")
    again = build_corpus(strict, copy, base=data)
    assert again.resumed["read"] > 0
    assert not (copy / DECIDED).exists()
    assert contents(copy) == contents(build_corpus(strict, tmp_path / "at once", base=data).out)


def test_there_and_back(copy: Path) -> None:
    before = contents(copy / "decisions")
    there = redecide(copy, overrides=[STRICT])
    back = redecide(copy, overrides=["rules.gopher_quality.words.min=50"])
    assert (back.kept_before, back.kept_after) == (there.kept_after, there.kept_before)
    assert contents(copy / "decisions") == before


def test_the_same_settings_leave_a_corpus_as_it_is(copy: Path, config: CorpusConfig) -> None:
    before = contents(copy)
    change = redecide(copy, recipe=recipe_values(config))
    assert (change.settings, change.decisions_changed) == ([], 0)
    assert contents(copy) == before


def test_settings_that_change_more_are_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"tokenizer.vocab_size: 2048 there, 300 now"):
        redecide(copy, overrides=["tokenizer.vocab_size=300"])
    with pytest.raises(RecipeError, match="did you mean 'words'"):
        redecide(copy, overrides=["rules.gopher_quality.wrods.min=3"])
    assert (copy / NAME).is_file()
    with pytest.raises(DataError, match="castline corpus build"):
        redecide(tmp_path / "nothing")


def test_samples(built: CorpusSummary) -> None:
    kept = sample_documents(built.out, kept=True, source="chinese")
    assert {document.rule for document in kept} == {""}
    assert len(kept) == 3
    assert sample_documents(built.out, count=4, seed=1) == sample_documents(built.out, count=4, seed=1)
    assert sample_documents(built.out, count=4, seed=1) != sample_documents(built.out, count=4, seed=2)
    assert {document.rule for document in sample_documents(built.out, rule="chinese_quality")} == {
        "chinese_quality.words"
    }
    assert "" not in {document.rule for document in sample_documents(built.out, kept=False, count=50)}
    with pytest.raises(RecipeError, match=r"chinese_quality\.words"):
        sample_documents(built.out, rule="no_such_rule")
    with pytest.raises(RecipeError, match="expected a source"):
        sample_documents(built.out, source="nowhere")
