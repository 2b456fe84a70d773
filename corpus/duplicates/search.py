"""The second stage: find exact and near duplicates among all documents that were read.

Who stays of a cluster is decided later (`decide.py`), so changing a rule needs no new search. Writes
`duplicates/clusters.parquet` (a row per document, in reading order: the number of the first document of
its cluster) and `duplicates/pairs.parquet` (verified pairs that connect every cluster, with similarities).
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline import _C
from castline.corpus.documents import read_documents
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.measure import Part
from castline.corpus.tables import read_table, write_table
from castline.corpus.workspace import Workspace
from castline.progress import progress

FORMAT = 1
CLUSTERS = "duplicates/clusters.parquet"
PAIRS = "duplicates/pairs.parquet"
BATCH = 4096

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]


def find_duplicates(parts: list[Part], config: DedupConfig, workspace: Workspace, workers: int) -> None:
    """Write the clusters and pairs of all documents, unless that is done.

    `workers` threads search; the result does not depend on their number.
    """
    key = {
        "format": FORMAT,
        "dedup": config.model_dump(exclude={"keep", "best_by"}),
        "documents": [part.sha256["documents"] for part in parts],
    }
    out = workspace.out
    if workspace.load("duplicates", key) is None:
        workspace.keep_only("duplicates", ())
        _search(parts, config, out, workers)
        workspace.save("duplicates", key, {}, [out / CLUSTERS, out / PAIRS])


def _search(parts: list[Part], config: DedupConfig, out: Path, workers: int) -> None:
    paths = [out / "measurements" / f"{part.name}.parquet" for part in parts]
    table = pa.concat_tables([read_table(path, ["id", "content_hash"]) for path in paths])
    none: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    exact = _exact_pairs(table["content_hash"]) if config.exact else none
    near = _near_pairs(parts, config, out, workers) if config.near else none
    first, second, similarity = (np.concatenate(columns) for columns in zip(exact, near, strict=True))
    clusters = _C.clusters(len(table), first, second)
    write_table(out / CLUSTERS, pa.table({"cluster": clusters}))
    ids = table["id"]
    write_table(
        out / PAIRS,
        pa.table(
            {
                "first": ids.take(pa.array(first)),
                "second": ids.take(pa.array(second)),
                "similarity": similarity,
            }
        ),
    )


def _exact_pairs(hashes: pa.ChunkedArray) -> Pairs:
    """Each document with an earlier one of the same text, white space aside."""
    raw = np.frombuffer(b"".join(hashes.to_pylist()), dtype="V16")
    _, first, group = np.unique(raw, return_index=True, return_inverse=True)
    earliest = first[group].astype(np.int64)
    later = np.flatnonzero(earliest != np.arange(len(raw))).astype(np.int64)
    return earliest[later], later, np.ones(len(later))


def _near_pairs(parts: list[Part], config: DedupConfig, out: Path, workers: int) -> Pairs:
    index = _C.DuplicateIndex(config.threshold, config.permutations, config.recall)
    with progress("finding duplicates", sum(part.documents for part in parts), "documents") as advance:
        for part in parts:
            batch: list[str] = []
            kind: Any = "text"
            for document in read_documents(out / "documents" / f"{part.name}.jsonl.zst"):
                kind = "code" if document.kind == "code" else "text"
                batch.append(document.text)
                if len(batch) == BATCH:
                    index.add(batch, kind, threads=workers)
                    advance(len(batch))
                    batch = []
            index.add(batch, kind, threads=workers)
            advance(len(batch))
        return index.pairs(threads=workers)
