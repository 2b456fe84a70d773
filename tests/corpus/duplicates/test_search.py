"""Duplicates of a whole corpus: against brute force, with any memory, after an interruption."""

import shutil
from pathlib import Path

import pytest
from shingles import shingles, similar_pairs

from castline.corpus.build import CorpusSummary
from castline.corpus.config import CorpusConfig
from castline.corpus.documents import Document, read_documents
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.duplicates.search import find_duplicates
from castline.corpus.measure import Part
from castline.corpus.tables import read_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.errors import DataError, RecipeError
from castline.recipe import parse


def documents_of(out: Path) -> list[Document]:
    paths = sorted((out / "documents").iterdir())
    return [document for path in paths for document in read_documents(path)]


def contents(out: Path) -> dict[str, bytes]:
    folder = out / "duplicates"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copy(built: CorpusSummary, tmp_path: Path) -> Path:
    """What reading and measuring left, without the duplicates."""
    for folder in ("documents", "measurements"):
        shutil.copytree(built.out / folder, tmp_path / folder)
    return tmp_path


@pytest.fixture
def parts(copy: Path) -> list[Part]:
    names = sorted(path.stem for path in (copy / "measurements").iterdir())
    return [
        Part(name, "", len(read_table(copy / "measurements" / f"{name}.parquet")), {"documents": name})
        for name in names
    ]


def test_clusters_against_brute_force(built: CorpusSummary) -> None:
    documents = documents_of(built.out)
    sets = [shingles(one.text, "code" if one.kind == "code" else "text") for one in documents]
    true = {
        (documents[i].id, documents[j].id): similarity
        for (i, j), similarity in similar_pairs(sets, 0.7).items()
        if (documents[i].kind == "code") == (documents[j].kind == "code")
    }
    pairs = read_table(built.out / "duplicates" / "pairs.parquet").to_pylist()
    found = {(pair["first"], pair["second"]): pair["similarity"] for pair in pairs}
    assert found.items() <= true.items()
    cluster = read_table(built.out / "duplicates" / "clusters.parquet")["cluster"].to_pylist()
    cluster_of = {document.id: number for document, number in zip(documents, cluster, strict=True)}
    assert len(true) > 2
    assert all(cluster_of[first] == cluster_of[second] for first, second in true)


@pytest.mark.parametrize(("memory", "workers"), [("1KB", 1), ("1MB", 2)])
def test_neither_memory_nor_workers_change_a_byte(
    built: CorpusSummary, copy: Path, parts: list[Part], memory: str, workers: int
) -> None:
    with Workers(workers) as pool:
        hashes = find_duplicates(parts, DedupConfig(memory=memory), [], Workspace(copy), pool)
    assert contents(copy) == contents(built.out)
    assert hashes.items() <= built.manifest["files"].items()


def test_only_what_is_missing_is_done_again(built: CorpusSummary, copy: Path, parts: list[Part]) -> None:
    with Workers(1) as pool:
        find_duplicates(parts, DedupConfig(), [], Workspace(copy), pool)
        (copy / "duplicates" / "index" / f"{parts[0].name}.index").unlink()
        again = Workspace(copy)
        find_duplicates(parts, DedupConfig(), [], again, pool)
        assert dict(again.resumed) == {"index": len(parts) - 1, "duplicates": 1}
        other = Workspace(copy)
        find_duplicates(parts, DedupConfig(threshold=0.9, recall=0.9999), [], other, pool)
        assert not other.resumed, "other bands, another index"
    assert contents(copy).keys() == contents(built.out).keys()


def test_a_damaged_index(copy: Path, parts: list[Part]) -> None:
    with Workers(1) as pool:
        find_duplicates(parts, DedupConfig(), [], Workspace(copy), pool)
        path = copy / "duplicates" / "index" / f"{parts[0].name}.index"
        damaged = bytearray(path.read_bytes())
        damaged[1000] ^= 1
        path.write_bytes(damaged)
        (copy / "duplicates" / "pairs.parquet").unlink()
        with pytest.raises(DataError, match=rf"{path.name}, but it is damaged: .*; delete it and build"):
            find_duplicates(parts, DedupConfig(), [], Workspace(copy), pool)


@pytest.mark.parametrize(
    ("table", "message"),
    [({"memory": "1.5GB"}, 'a size such as "500MB"'), ({"memory": "0GB"}, "a size"), ({"agianst": "x"}, "against")],
)
def test_mistakes_in_the_recipe(config: CorpusConfig, table: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse(CorpusConfig, {**config.model_dump(mode="json"), "dedup": table}, "recipe.toml")
