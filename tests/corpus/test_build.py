"""Whole builds: exact accounting, provenance of every token, reuse, and the same bytes for any worker count."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castline import _C
from castline.corpus import sources
from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import Document, read_documents, read_rejects
from castline.corpus.shards import open_shards
from castline.corpus.tables import read_table
from castline.errors import CastlineError, DataError, RecipeError

from .conftest import SOURCES, configure


def contents(out: Path) -> dict[str, str]:
    """The hash of every file of a corpus (what `.castline` holds is no part of it)."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".castline" not in path.parts
    }


def all_documents(out: Path) -> dict[str, Document]:
    paths = sorted((out / "documents").iterdir())
    return {document.id: document for path in paths for document in read_documents(path)}


def test_every_record_is_accounted_for(built: CorpusSummary, data: Path) -> None:
    documents = all_documents(built.out)
    rejects = [reject for path in sorted((built.out / "rejects").iterdir()) for reject in read_rejects(path)]
    for name, account in built.manifest["sources"].items():
        kept, dropped, rejected = (sum(account[key].values()) for key in ("kept", "dropped", "rejected"))
        assert account["read"] == kept + dropped + rejected
        assert kept + dropped == sum(document.source == name for document in documents.values())
        assert rejected == sum(reject.source == name for reject in rejects)
    assert built.manifest["sources"]["reference"]["read"] == len(list((data / "english").iterdir()))
    assert built.manifest["sources"]["chinese"]["read"] == 4
    empty = sum(not path.read_bytes().strip() for path in (data / "code").rglob("*.py"))
    assert built.manifest["sources"]["stdlib"]["rejected"] == {
        "empty": empty,
        "unknown_encoding": 1,
        "unknown_language": 1,
    }
    where = {reject.where for reject in rejects}
    assert {"latin.py (byte 5)", "logo.png"} <= where
    totals = built.manifest["totals"]
    assert totals["read"] == len(documents) + len(rejects)


def test_every_token_leads_back_to_its_document(built: CorpusSummary) -> None:
    documents = all_documents(built.out)
    tokenizer = _C.Tokenizer(built.out / "tokenizer.json")
    corpus = open_shards(built.out)
    eos = corpus.manifest["eos_id"]
    decisions = {row["id"]: row for path in (built.out / "decisions").iterdir() for row in read_table(path).to_pylist()}
    seen: dict[str, list[str]] = {}
    for split in corpus.manifest["splits"]:
        shards = corpus.split(split)
        assert len(shards.tokens) > 1 or split != "train", "the fixture fills several shards"
        for span in shards.spans():
            tokens = shards.read(span.start, span.end)
            assert tokens[-1] == eos
            assert eos not in tokens[:-1]
            document = documents[span.document_id]
            text = tokenizer.decode(tokens[:-1].astype(np.uint32))
            seen.setdefault(document.id, []).append(split)
            assert (span.source, span.language) == (document.source, document.language)
            assert decisions[document.id]["split"] == split.split("/")[0]
            assert document.text.encode().startswith(text)
            if document.source != "stdlib":  # half of that source is read, so one document is cut
                assert text == document.text.encode()
    kept = {document_id for document_id, row in decisions.items() if row["kept"]}
    assert set(seen) <= kept
    for document_id in kept:
        times = len(seen.get(document_id, []))
        stdlib = range(decisions[document_id]["repeats"] + 1)  # code of high quality is repeated
        expected = {"reference": [1], "chinese": [2], "stdlib": stdlib}[documents[document_id].source]
        assert times in ([1] if decisions[document_id]["split"] == "held_out" else expected)


def test_token_budgets(built: CorpusSummary) -> None:
    for source in SOURCES:
        tokens = built.manifest["sources"][source["name"]]["tokens"]
        assert tokens["held_out"] > 0
        assert abs(tokens["train"] - tokens["available"] * source.get("weight", 1.0)) <= 1
    shards = json.loads((built.out / "shards" / "manifest.json").read_text())
    assert shards["splits"]["train"]["tokens"] == built.manifest["totals"]["tokens"]["train"]


def test_the_manifest_names_every_file_by_its_hash(built: CorpusSummary) -> None:
    found = contents(built.out)
    shards = json.loads((built.out / "shards" / "manifest.json").read_text())
    named = dict(built.manifest["files"])
    for split in shards["splits"].values():
        for shard in split["shards"]:
            named[f"shards/{shard['name']}.tokens"] = shard["sha256"]
            named[f"shards/{shard['name']}.index.parquet"] = shard["index_sha256"]
    assert {**named, "manifest.json": found["manifest.json"], "report.html": found["report.html"]} == found
    assert not list(built.out.rglob("*.tmp"))


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_no_byte(
    built: CorpusSummary,
    data: Path,
    config: CorpusConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    out = tmp_path / "out"
    build_corpus(config, out, base=data, workers=workers)
    assert contents(out) == contents(built.out)


def test_the_same_recipe_is_reused(built: CorpusSummary, data: Path, config: CorpusConfig) -> None:
    before = contents(built.out)
    again = build_corpus(config, built.out, base=data)
    assert again.reused
    assert again.manifest == built.manifest == json.loads((built.out / "manifest.json").read_text())
    assert contents(built.out) == before


NOTES: list[dict[str, Any]] = [{"name": "notes", "path": "notes"}]


@pytest.fixture
def notes(data: Path, tmp_path: Path) -> Path:
    """A small source of its own, which a test may change."""
    (tmp_path / "notes").mkdir()
    for name in ("assert", "assignment", "booleans", "calls", "class", "for", "function", "if", "import", "lambda"):
        shutil.copy(data / "english" / f"{name}.txt", tmp_path / "notes")
    return tmp_path


def build(folder: Path, force: bool = False, **tables: Any) -> CorpusSummary:
    config = configure(**{"sources": NOTES, **tables})
    return build_corpus(config, folder / "out", base=folder, force=force)


def test_another_recipe_is_refused_unless_forced(notes: Path) -> None:
    before = build(notes).manifest
    words = {"gopher_quality": {"words": {"min": 300}}}
    with pytest.raises(RecipeError) as caught:
        build(notes, rules=words, seed=5)
    assert "rules.gopher_quality.words.min: 50.0 there, 300.0 now" in str(caught.value)
    assert "seed: 0 there, 5 now" in str(caught.value)
    assert json.loads((notes / "out" / "manifest.json").read_text()) == before
    after = build(notes, rules=words, seed=5, force=True)
    assert after.manifest["totals"]["dropped"]["gopher_quality.words"] > before["totals"]["dropped"].get(
        "gopher_quality.words", 0
    )
    assert after.resumed["read"] == 1, "what was measured is not measured again"
    fresh = build_corpus(configure(NOTES, rules=words, seed=5), notes / "fresh", base=notes)
    assert contents(fresh.out) == contents(notes / "out")


def test_changed_files_are_noticed(notes: Path) -> None:
    build(notes)
    with (notes / "notes" / "if.txt").open("a") as file:
        file.write("One more sentence.\n")
    with pytest.raises(DataError, match="files have changed"):
        build(notes)
    build(notes, force=True)
    (notes / "notes" / "if.txt").unlink()
    with pytest.raises(DataError, match="files have changed"):
        build(notes)
    assert build(notes, force=True).manifest["totals"]["read"] == 9


def test_a_corpus_without_its_markers_is_still_reused(notes: Path) -> None:
    build(notes)
    shutil.rmtree(notes / "out" / ".castline")
    assert build(notes).reused


def test_other_peoples_folders_are_left_alone(notes: Path) -> None:
    (notes / "out" / "documents").mkdir(parents=True)
    (notes / "out" / "documents" / "thesis.txt").write_text("years of work")
    with pytest.raises(RecipeError, match="expected an empty folder or a corpus"):
        build(notes, force=True)
    assert (notes / "out" / "documents" / "thesis.txt").read_text() == "years of work"


def failing(folder: Path, kind: type[CastlineError], **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        build(folder, **arguments)
    assert not (folder / "out" / "manifest.json").exists()
    return str(caught.value)


def test_sources_that_yield_nothing(notes: Path) -> None:
    (notes / "images").mkdir()
    (notes / "images" / "a.png").write_bytes(b"\x89PNG\0")
    missing = failing(notes, DataError, sources=[{"name": "web", "path": "web/*.html"}])
    assert "source 'web'" in missing
    nothing = failing(notes, DataError, sources=[*NOTES, {"name": "images", "path": "images"}])
    assert "source 'images': expected documents, but its files gave none (1 binary)" in nothing
    dropped = failing(notes, DataError, rules={"gopher_quality": {"words": {"min": 10**6, "max": 10**7}}})
    assert "all were dropped (gopher_quality.words 10)" in dropped
    assert "expected tokens to train on" in failing(notes, RecipeError, sources=[{**NOTES[0], "weight": 0}])
    assert build(notes).manifest["totals"]["read"] == 10


def test_damaged_records_pass_up_to_max_bad(notes: Path) -> None:
    lines = [json.dumps({"text": path.read_text()}) for path in sorted((notes / "notes").iterdir())]
    lines[4] = lines[4][:-9]
    (notes / "lines.jsonl").write_text("\n".join(lines))
    whole = zstandard.compress(("\n".join(lines[:3] * 40)).encode())
    (notes / "cut.jsonl.zst").write_bytes(whole[:-10])
    sources = [{"name": "lines", "path": "lines.jsonl"}]
    message = failing(notes, DataError, sources=sources)
    assert "1 of 10; the first: lines.jsonl:5: Unterminated string" in message
    assert "--max-bad 0.1" in message
    failing(notes, DataError, sources=[{**sources[0], "max_bad": 0.09}])
    assert build(notes, sources=[{**sources[0], "max_bad": 0.1}]).manifest["totals"]["rejected"] == {"broken_json": 1}
    # how much may be damaged does not make another corpus
    assert build(notes, sources=[{**sources[0], "max_bad": 0.5}]).reused
    cut = [{"name": "cut", "path": "cut.jsonl.zst"}]
    with pytest.raises(
        DataError, match=rf"cut.jsonl.zst \(byte {len(whole) - 10}\): the file ends inside a zstd stream"
    ):
        build_corpus(configure(cut), notes / "cut", base=notes)
    summary = build_corpus(configure(cut), notes / "cut", base=notes, max_bad=0.5)
    assert summary.manifest["totals"]["rejected"] == {"truncated": 1}


def test_many_tasks_and_parts(data: Path, config: CorpusConfig, built: CorpusSummary, tmp_path: Path) -> None:
    """Finer tasks give other parts, but the same documents, decisions, tokenizer and tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "TASK_BYTES", 20_000)
        patch.setattr("castline.corpus.measure.PART_RECORDS", 2)
        summary = build_corpus(config, tmp_path / "out", base=data)
    assert summary.manifest["totals"] == built.manifest["totals"]
    ours, theirs = contents(summary.out), contents(built.out)
    same = [
        name for name in theirs if name.startswith(("shards/", "tokenizer", "duplicates/clusters", "duplicates/pairs"))
    ]
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert len(ours) > len(theirs) + 100


GOOD = st.integers(0, 30).map(lambda n: json.dumps({"text": " ".join(f"w{(n * k) % 97}" for k in range(1, 80))}))
SHORT = st.just(json.dumps({"text": "too short to keep"}))
EMPTY = st.just(json.dumps({"text": "  "}))
BROKEN = st.sampled_from(['{"text": "cut', "[1, 2]", '{"body": "another field"}', '{"text": null}'])
LINES = st.lists(st.one_of(GOOD, GOOD, GOOD, SHORT, EMPTY, BROKEN), max_size=25)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(files=st.lists(LINES, min_size=1, max_size=4), task_bytes=st.integers(1, 5000), part_records=st.integers(1, 9))
def test_whatever_is_read_adds_up(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], task_bytes: int, part_records: int
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    # two documents of its own, so that every corpus has something to train on
    for number, lines in enumerate([[json.dumps({"text": "plenty of words " * 40 + word}) for word in "ab"], *files]):
        (folder / f"{number}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    lines = [line for lines in files for line in lines]
    broken = [line for line in lines if '"text": "' not in line or line.endswith("cut")]
    empty = [line for line in lines if line == json.dumps({"text": "  "})]
    off = {"english_stop_words": False, "alphabetic_word_fraction": False, "mean_word_length": False}
    rules = {"gopher_quality": off, "gopher_repetition": {"enabled": False}, "text_form": {"enabled": False}}
    config = configure([{"name": "lines", "path": "*.jsonl"}], rules=rules, dedup={"near": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "TASK_BYTES", task_bytes)
        patch.setattr("castline.corpus.measure.PART_RECORDS", part_records)
        account = build_corpus(config, folder / "out", base=folder, max_bad=1.0).manifest["sources"]["lines"]
    assert account["read"] == len(lines) + 2
    assert sum(account["rejected"].values()) == len(broken) + len(empty)
    assert account["rejected"].get("empty", 0) == len(empty)
    short = lines.count(json.dumps({"text": "too short to keep"}))
    assert account["dropped"].get("gopher_quality.words", 0) == short
    good = [line for line in lines if line not in broken and line not in empty and "too short" not in line]
    assert sum(account["kept"].values()) == len(set(good)) + 2
    assert account["dropped"].get("exact_duplicate", 0) == len(good) - len(set(good))
    assert len(all_documents(folder / "out")) == account["read"] - sum(account["rejected"].values())


def test_a_corpus_does_not_say_where_it_was_built(notes: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "deeper"
    shutil.copytree(notes / "notes", elsewhere / "notes", copy_function=shutil.copyfile)
    first, second = build(notes), build(elsewhere)
    assert contents(first.out) == contents(second.out)
