"""Packed repositories in whole builds: every kept file once, traceable by byte, the same whatever the workers."""

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from castline import _C
from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.code import packing
from castline.corpus.code.imports.files import CodeFile
from castline.corpus.code.markdown import section
from castline.corpus.code.packed import PackedRange
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import Document, read_documents
from castline.corpus.explain import explain_document
from castline.corpus.shards import open_shards
from castline.corpus.tables import read_table
from castline.errors import RecipeError

from .conftest import STDLIB, configure
from .test_build import all_documents, contents

PACKAGES = ("json", "email", "logging", "wsgiref")


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real packages as repositories, with documentation, a duplicate and a module that lies in no folder."""
    root = tmp_path_factory.mktemp("repositories")
    for package in PACKAGES:
        shutil.copytree(STDLIB / package, root / "code" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "code" / "json" / "README.md").write_text(
        "# JSON\n\nReading and writing JSON.\n\n```\njson.loads('1')\n```\n" * 3
    )
    shutil.copy(root / "code" / "email" / "charset.py", root / "code" / "wsgiref" / "charset.py")
    shutil.copy(STDLIB / "textwrap.py", root / "code")
    return root


def recipe(repository: str = "folder", **tables: Any) -> CorpusConfig:
    source = {"name": "packages", "path": "code", "kind": "code", "repository": repository}
    return configure(
        [source],
        **{
            "tokenizer": {"vocab_size": 1024},
            "repositories": {"tokens": 12_000},
            "split": {"held_out": 0.05},
            **tables,
        },
    )


@pytest.fixture(scope="session")
def packed(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    return build_corpus(recipe(), tmp_path_factory.mktemp("packed") / "out", base=repositories)


def rows(out: Path, pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob(pattern)) for row in read_table(path).to_pylist()]


def packed_documents(out: Path) -> dict[str, Document]:
    return {
        document.id: document for path in sorted((out / "packed").glob("*.zst")) for document in read_documents(path)
    }


def packed_files(out: Path) -> list[dict[str, Any]]:
    return rows(out, "packed/*.files.parquet")


def test_every_kept_file_is_in_exactly_one_document(packed: CorpusSummary) -> None:
    decisions = rows(packed.out, "decisions/*.parquet")
    kept = {row["id"]: row for row in decisions if row["kept"]}
    assert len(kept) < len(decisions), "the copied file is a duplicate"
    files = packed_files(packed.out)
    assert sorted(row["file"] for row in files) == sorted(kept)
    originals = all_documents(packed.out)
    documents = packed_documents(packed.out)
    table = {row["id"]: row for row in rows(packed.out, "packed/" + "[0-9]" * 6 + ".parquet")}
    assert list(table) == list(documents)
    for row in files:
        whole = documents[row["document"]].text.encode()
        original = originals[row["file"]]
        assert whole[row["start"] : row["end"]] == original.text.encode()
        assert row["path"] == original.path
        assert table[row["document"]]["split"] == kept[row["file"]]["split"]
        repository = original.path.partition("/")[0]
        assert documents[row["document"]].path == table[row["document"]]["repository"] == repository
    account = packed.manifest["sources"]["packages"]
    assert account["packed"] == len(documents)
    assert account["read"] == sum(sum(account[name].values()) for name in ("kept", "dropped", "rejected"))
    assert sum(account["kept"].values()) == len(kept)


def test_documents_are_markdown_with_paths_and_fences(packed: CorpusSummary) -> None:
    """Taken apart by what markdown says, a document is its files again."""
    block = regex.compile(
        r"# (?P<path>\S+)\n\n(?P<fence>`{3,})(?P<info>\S*)\n(?P<text>(?s:.*?))^(?P=fence)\n(?:\n|\Z)", regex.M
    )
    files = packed_files(packed.out)
    originals = all_documents(packed.out)
    found = {}
    for document in packed_documents(packed.out).values():
        for match in block.finditer(document.text):
            found[match["path"]] = (match["info"], match["text"])
    fenced = [row for row in files if not row["path"].endswith(".md")]
    assert len(fenced) > 30
    for row in fenced:
        text = originals[row["file"]].text
        info = {"py": "python", "rst": "rst"}[row["path"].rpartition(".")[2]]
        assert found[row["path"]] == (info, text if text.endswith("\n") else text + "\n")
    readme = next(row for row in files if row["path"] == "json/README.md")
    document = packed_documents(packed.out)[readme["document"]]
    assert document.text.startswith("# json/README.md\n\n# JSON\n"), "documentation first, and not in a fence"


def test_documents_keep_to_the_budget(packed: CorpusSummary) -> None:
    budget = recipe().repositories.budget
    table = rows(packed.out, "packed/" + "[0-9]" * 6 + ".parquet")
    assert any(row["number"] > 0 for row in table), "a repository over the budget is divided"
    for row in table:
        assert row["bytes"] <= budget or row["files"] == 1
        assert row["language"] == "python"


def test_every_token_leads_back_to_a_file(packed: CorpusSummary) -> None:
    tokenizer = _C.Tokenizer(packed.out / "tokenizer.json")
    corpus = open_shards(packed.out)
    documents = packed_documents(packed.out)
    splits = {row["id"]: row["split"] for row in rows(packed.out, "packed/" + "[0-9]" * 6 + ".parquet")}
    seen = []
    for split in corpus.manifest["splits"]:
        shards = corpus.split(split)
        for span in shards.spans():
            text = tokenizer.decode(shards.read(span.start, span.end)[:-1].astype("uint32"))
            assert text == documents[span.document_id].text.encode()
            assert split.startswith(splits[span.document_id])
            seen.append(span.document_id)
    table = rows(packed.out, "packed/" + "[0-9]" * 6 + ".parquet")
    assert Counter(seen) == {row["id"]: row["repeats"] if row["split"] == "train" else 1 for row in table}
    assert {row["repeats"] for row in table} == {1, 2}, "some are of high quality"


@pytest.mark.parametrize(("job_bytes", "workers"), [(1, 2), (60_000, 1)])
def test_workers_change_nothing(
    packed: CorpusSummary,
    repositories: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job_bytes: int,
    workers: int,
) -> None:
    """Neither the workers nor how repositories are shared out among them change a document."""
    monkeypatch.setattr(packing, "JOB_BYTES", job_bytes)
    finer = build_corpus(recipe(), tmp_path / "out", base=repositories, workers=workers)
    assert len(list((finer.out / "packed").glob("*.zst"))) > 1
    assert list(packed_documents(finer.out).values()) == list(packed_documents(packed.out).values())
    assert packed_files(finer.out) == packed_files(packed.out)
    ours, theirs = contents(finer.out), contents(packed.out)
    assert {name: ours[name] for name in ours if name.startswith("shards/")} == {
        name: theirs[name] for name in theirs if name.startswith("shards/")
    }


def test_another_budget_packs_again_and_reads_nothing(repositories: Path, tmp_path: Path) -> None:
    build_corpus(recipe(), tmp_path / "out", base=repositories)
    with pytest.raises(RecipeError, match=r"repositories\.tokens: 12000 there, 500 now"):
        build_corpus(recipe(repositories={"tokens": 500}), tmp_path / "out", base=repositories)
    smaller = build_corpus(recipe(repositories={"tokens": 500}), tmp_path / "out", base=repositories, force=True)
    assert smaller.resumed["read"] == 1
    fresh = build_corpus(recipe(repositories={"tokens": 500}), tmp_path / "fresh", base=repositories)
    assert contents(smaller.out) == contents(fresh.out)
    plain = build_corpus(recipe("none"), tmp_path / "out", base=repositories, force=True)
    assert not list((plain.out / "packed").iterdir())
    assert plain.manifest["totals"]["packed"] == 0


@pytest.mark.parametrize(("unit", "documents"), [("file", None), ("source", 2)])
def test_other_units(repositories: Path, tmp_path: Path, unit: str, documents: int | None) -> None:
    summary = build_corpus(recipe(unit, repositories={"tokens": 10**6}), tmp_path / "out", base=repositories)
    kept = sum(summary.manifest["totals"]["kept"].values())
    # of the whole source, the training files and those held out are packed apart
    assert summary.manifest["totals"]["packed"] == (documents or kept)
    assert sorted(row["file"] for row in packed_files(summary.out)) == sorted(
        row["id"] for row in rows(summary.out, "decisions/*.parquet") if row["kept"]
    )


def test_many_repositories_are_held_out_whole(tmp_path: Path) -> None:
    topics = sorted((STDLIB / "encodings").glob("*.py"))[:60]
    for number, path in enumerate(topics):
        folder = tmp_path / "code" / f"repository{number // 3:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    config = recipe(split={"held_out": 0.2}, dedup={"near": False})
    summary = build_corpus(config, tmp_path / "out", base=tmp_path)
    splits: dict[str, set[str]] = {}
    for row in rows(summary.out, "packed/" + "[0-9]" * 6 + ".parquet"):
        splits.setdefault(row["repository"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "held_out"} == set().union(*splits.values())


def test_repositories_are_code() -> None:
    with pytest.raises(RecipeError, match='expected kind "code" of a source with repositories, but got "text"'):
        configure([{"name": "a", "path": "a", "repository": "folder"}])


@given(text=st.text(alphabet="a`~ \n-", max_size=80), language=st.sampled_from(["markdown", "python"]))
def test_what_follows_a_file_is_never_part_of_its_code(text: str, language: str) -> None:
    from markdown_it import MarkdownIt  # the reference parser of CommonMark in Python

    before, behind = section(CodeFile("a.md", language, text))
    tokens = MarkdownIt().parse(f"{before}{text}{behind}# next file\n")
    headings = [
        token for token, after in pairwise(tokens) if token.type == "heading_open" and after.content == "next file"
    ]
    assert len(headings) == 1


def test_explain_leads_from_a_file_to_its_document_and_back(packed: CorpusSummary) -> None:
    row = next(row for row in packed_files(packed.out) if row["path"] == "json/decoder.py")
    found = explain_document(packed.out, row["file"])
    assert found.packed == PackedRange(row["document"], row["start"], row["end"])
    assert found.tokens
    with pytest.raises(RecipeError, match=rf"is packed of \d+: .*{row['file']} \(json/decoder.py\)"):
        explain_document(packed.out, row["document"])
