"""Finished corpora that the documents of a new one are compared with (`[dedup] against`).

Of such a corpus only its index, clusters and decisions are read, never a text. A new document that is in one
cluster with a document that stayed there goes; as does one in a cluster with a duplicate of such a document.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus import manifest as manifests
from castline.corpus.duplicates import CLUSTERS
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.duplicates.index import index_file
from castline.corpus.tables import read_table
from castline.errors import DataError, RecipeError
from castline.files import sha256_file


@dataclass(frozen=True)
class Earlier:
    """One document of an earlier corpus: its id, and the corpus as the recipe names it."""

    id: str
    corpus: str


@dataclass(frozen=True)
class EarlierCorpus:
    """A finished corpus, by the name that the recipe gives it."""

    name: str
    folder: Path
    manifest_sha256: str
    parts: list[str]

    def index_files(self) -> list[Path]:
        """The index files of its parts, in reading order."""
        return [self.folder / index_file(part) for part in self.parts]

    def clusters(self) -> npt.NDArray[np.int64]:
        """For each of its documents the first one of the cluster: shape [documents]."""
        cluster: npt.NDArray[np.int64] = read_table(self.folder / CLUSTERS, ["cluster"])["cluster"].to_numpy()
        return cluster

    def stands(self) -> npt.NDArray[np.bool_]:
        """Whether each document stayed, or is a duplicate of one that did: shape [documents]."""
        flags = []
        for part in self.parts:
            table = read_table(self._decisions(part), ["kept", "duplicate_of"])
            flags.append(pc.or_(table["kept"], pc.not_equal(table["duplicate_of"], "")).to_numpy())
        return np.concatenate(flags)

    def documents(self, rows: npt.NDArray[np.int64]) -> list[Earlier]:
        """The documents at these rows, in their order."""
        ids = self._column("id")
        return [Earlier(one, self.name) for one in ids.take(pa.array(rows)).to_pylist()]

    def kept_documents(self, rows: npt.NDArray[np.int64]) -> list[Earlier]:
        """For each of these documents, which all stand, the one that was kept: itself, or what it duplicates."""
        taken = pa.array(rows)
        columns = [self._column(name).take(taken).to_pylist() for name in ("id", "duplicate_of", "earlier_corpus")]
        return [Earlier(other or own, corpus or self.name) for own, other, corpus in zip(*columns, strict=True)]

    def _column(self, name: str) -> pa.ChunkedArray:
        tables = [read_table(self._decisions(part), [name]) for part in self.parts]
        return pa.concat_tables(tables, promote_options="default")[name].cast(pa.string())

    def _decisions(self, part: str) -> Path:
        return self.folder / "decisions" / f"{part}.parquet"


def against(corpora: list[EarlierCorpus]) -> dict[str, str]:
    """What a manifest says about them: the hash of each one's manifest, by name."""
    return {corpus.name: corpus.manifest_sha256 for corpus in corpora}


def open_earlier(config: DedupConfig, base: Path, out: Path | None = None) -> list[EarlierCorpus]:
    """The corpora that `[dedup] against` names; their paths are relative to `base`, none of them is `out`.

    Raises:
        DataError: one is not a finished corpus, or has no index.
        RecipeError: one is named twice, or is the corpus to be built.
    """
    folders = [(base / name).resolve() for name in config.against]
    for name, folder in zip(config.against, folders, strict=True):
        if folders.count(folder) > 1:
            raise RecipeError(f"dedup.against: expected each corpus once, but '{name}' is named again")
        if out is not None and folder == out.resolve():
            raise RecipeError(f"dedup.against: expected earlier corpora, but '{name}' is the one to be built")
    return [_open(name, base / name) for name in config.against]


def _open(name: str, folder: Path) -> EarlierCorpus:
    manifests.read_manifest(folder)
    parts = sorted(path.stem for path in (folder / "decisions").glob("*.parquet"))
    corpus = EarlierCorpus(name, folder, sha256_file(folder / manifests.NAME), parts)
    missing = [path for path in corpus.index_files() if not path.is_file()]
    if missing:
        raise DataError(
            f"dedup.against: expected the index of the corpus in {folder}, but {missing[0].name} is not there; "
            "build that corpus again with --force"
        )
    return corpus
