"""Find exact and near duplicates among all documents that were read.

Who stays of a cluster is decided later (`decide.py`), so changing a rule needs no new search. Writes

- `duplicates/clusters.parquet`, a row per document in reading order: `cluster`, the number of the first document of its
  cluster; and where an earlier corpus has the document already, its id and corpus there (`earlier`,
  `earlier_corpus`);
- `duplicates/pairs.parquet`: verified pairs that connect every cluster, with similarities; `first_corpus` is the
  earlier corpus of the first document, empty for this one.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline import _C
from castline.corpus.duplicates import CLUSTERS, PAIRS
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.duplicates.earlier import Earlier, EarlierCorpus
from castline.corpus.duplicates.index import index_documents, index_file
from castline.corpus.measure import Part
from castline.corpus.tables import read_table, write_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.files import sha256_file
from castline.progress import progress

FORMAT = 2
SEARCH_FIELDS = {"exact", "near", "threshold"}  # of the recipe; the others are in the index, or do not matter

Integers = npt.NDArray[np.int64]


def find_duplicates(
    parts: list[Part], config: DedupConfig, earlier: list[EarlierCorpus], workspace: Workspace, workers: Workers
) -> dict[str, str]:
    """Write the index, the clusters and the pairs of all documents, as far as that is not done.

    The result depends neither on the number of workers nor on `config.memory`.

    Returns:
        The SHA-256 of the files written, by their path in the corpus directory.

    Raises:
        DataError: an index file is damaged, or that of an earlier corpus was made with other settings.
    """
    out = workspace.out
    hashes = index_documents(parts, config, workspace, workers)
    key = {
        "format": FORMAT,
        "dedup": config.model_dump(include=SEARCH_FIELDS),
        "index": list(hashes.values()),
        "earlier": [(corpus.name, corpus.manifest_sha256) for corpus in earlier],
    }
    stored = workspace.load("duplicates", key)
    if stored is None:
        with progress("finding duplicates", None):
            _search(parts, config, earlier, out, workers.count)
        stored = {name: sha256_file(out / name) for name in (CLUSTERS, PAIRS)}
        workspace.save("duplicates", key, stored, [out / name for name in stored])
    return {**stored, **hashes}


def _search(parts: list[Part], config: DedupConfig, earlier: list[EarlierCorpus], out: Path, threads: int) -> None:
    before = _EarlierDocuments(earlier)
    files = [*before.index_files(), *(out / index_file(part.name) for part in parts)]
    first, second, similarity, clusters = _C.find_duplicates(
        [str(path) for path in files],
        config.threshold,
        known=before.clusters,
        exact=config.exact,
        memory=config.memory_bytes,
        threads=threads,
    )
    tables = [read_table(out / "measurements" / f"{part.name}.parquet", ["id"]) for part in parts]
    ids = pa.concat_tables(tables)["id"]
    _write_clusters(out / CLUSTERS, clusters, before)
    _write_pairs(out / PAIRS, (first.astype(np.int64), second.astype(np.int64), similarity), ids, before)


class _EarlierDocuments:
    """The documents of all earlier corpora, numbered through."""

    def __init__(self, corpora: list[EarlierCorpus]) -> None:
        self.corpora = corpora
        clusters = [corpus.clusters() for corpus in corpora]
        self.starts = np.cumsum([0, *(len(one) for one in clusters)])
        shifted = [one + start for one, start in zip(clusters, self.starts, strict=False)]
        self.clusters = np.concatenate([np.empty(0, np.int64), *shifted]).astype(np.uint32)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def index_files(self) -> list[Path]:
        return [path for corpus in self.corpora for path in corpus.index_files()]

    def stands(self) -> npt.NDArray[np.bool_]:
        return np.concatenate([np.empty(0, np.bool_), *(corpus.stands() for corpus in self.corpora)])

    def names(self, numbers: Integers, *, kept: bool) -> dict[int, Earlier]:
        """The documents with these numbers, or those that were `kept` in their place, by the numbers."""
        named: dict[int, Earlier] = {}
        for corpus, start, end in zip(self.corpora, self.starts, self.starts[1:], strict=False):
            mine = np.unique(numbers[(numbers >= start) & (numbers < end)])
            if len(mine):
                rows = mine - start
                found = corpus.kept_documents(rows) if kept else corpus.documents(rows)
                named.update(zip(mine.tolist(), found, strict=True))
        return named


def _write_clusters(path: Path, clusters: npt.NDArray[np.uint32], before: _EarlierDocuments) -> None:
    own = clusters[len(before) :]
    cluster: Integers = own.astype(np.int64)
    matched = np.full(len(own), -1, np.int64)  # the number of the first earlier document in the cluster that stands
    if before.corpora:
        _, first, group = np.unique(own, return_index=True, return_inverse=True)
        cluster = first[group].astype(np.int64)
        standing = np.flatnonzero(before.stands())[::-1]
        first_standing = np.full(len(before), -1, np.int64)
        first_standing[clusters[standing]] = standing
        joined = own < len(before)
        matched[joined] = first_standing[own[joined]]
    named = before.names(matched, kept=True)
    ids = corpora = pa.nulls(len(own), pa.string())
    if named:
        found = [named.get(number) for number in matched.tolist()]
        ids = pa.array([one and one.id for one in found], pa.string())
        corpora = pa.array([one and one.corpus for one in found], pa.string())
    write_table(path, pa.table({"cluster": cluster, "earlier": ids, "earlier_corpus": corpora}))


def _write_pairs(
    path: Path,
    pairs: tuple[Integers, Integers, npt.NDArray[np.float64]],
    ids: pa.ChunkedArray,
    before: _EarlierDocuments,
) -> None:
    first, second, similarity = pairs
    count = len(before)
    old = first < count
    named = before.names(first[old], kept=False)
    table = pa.table(
        {
            "first": ids.take(pa.array(first[~old] - count)),
            "second": ids.take(pa.array(second[~old] - count)),
            "similarity": similarity[~old],
            "first_corpus": pa.array([""] * int((~old).sum()), pa.string()),
        }
    )
    matches = [named[number] for number in first[old].tolist()]
    across = pa.table(
        {
            "first": pa.array([match.id for match in matches], pa.string()),
            "second": ids.take(pa.array(second[old] - count)),
            "similarity": similarity[old],
            "first_corpus": pa.array([match.corpus for match in matches], pa.string()),
        }
    )
    write_table(path, pa.concat_tables([across, table]))
