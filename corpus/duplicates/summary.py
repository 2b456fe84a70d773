"""The duplicates' part of the report: how many clusters, how similar, and the largest ones to look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.duplicates import CLUSTERS, PAIRS
from castline.corpus.duplicates.keep import Integers
from castline.corpus.tables import read_table, rows_and_columns

LARGEST = 10
STEPS = 6  # of similarities below 1


@dataclass(frozen=True)
class Cluster:
    """A cluster of duplicates: its size, and the document that stayed, which may be of an earlier corpus."""

    documents: int
    kept: str  # an id; empty where rules dropped them all
    earlier_corpus: str
    source: str  # of the first document, as the path
    path: str


@dataclass(frozen=True)
class Similarities:
    """How many verified pairs have a similarity in `[low, high)`, or of 1."""

    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class DuplicatesSummary:
    """What the search found, whatever was decided afterwards."""

    clusters: int  # of two documents or more, or with one of an earlier corpus
    documents: int  # in them
    similarities: list[Similarities]
    largest: list[Cluster]


def summarise(out: Path, threshold: float) -> DuplicatesSummary:
    """Summarise the duplicates of the corpus directory `out`.

    Raises:
        DataError: a table is missing or damaged.
    """
    found = read_table(out / CLUSTERS, ["cluster", "earlier"])
    cluster = found["cluster"].to_numpy()
    first, sizes = np.unique(cluster, return_counts=True)
    joined = np.zeros(len(cluster), dtype=bool)
    joined[cluster[found["earlier"].is_valid().to_numpy()]] = True
    chosen = (sizes > 1) | joined[first]
    first, sizes = first[chosen], sizes[chosen]
    largest = np.argsort(-sizes, kind="stable")[:LARGEST]
    return DuplicatesSummary(
        clusters=len(first),
        documents=int(sizes.sum()),
        similarities=_similarities(read_table(out / PAIRS, ["similarity"])["similarity"], threshold),
        largest=list(_describe(out, cluster, list(zip(first[largest].tolist(), sizes[largest].tolist(), strict=True)))),
    )


def _similarities(column: pa.ChunkedArray, threshold: float) -> list[Similarities]:
    values = column.to_numpy()
    edges = np.linspace(threshold, 1.0, STEPS + 1)
    counts = np.histogram(values[values < 1.0], edges)[0]
    steps = [Similarities(float(edges[i]), float(edges[i + 1]), int(counts[i])) for i in range(STEPS)]
    return [*steps, Similarities(1.0, 1.0, int((values == 1.0).sum()))]


def _describe(out: Path, cluster: Integers, clusters: list[tuple[int, int]]) -> Iterable[Cluster]:
    """The clusters with these first documents and sizes; decisions are read part by part."""
    origins: dict[int, dict[str, Any]] = {}
    kept: dict[int, dict[str, Any]] = {}  # the decision about the member that stayed,
    known: dict[int, dict[str, Any]] = {}  # or about the first one that an earlier corpus has
    start = 0
    for path in sorted((out / "decisions").glob("*.parquet")):
        rows, _ = rows_and_columns(path)
        mine = cluster[start : start + rows]
        members = {first: found for first, _ in clusters if len(found := np.flatnonzero(mine == first))}
        if members:
            decisions = read_table(path, ["id", "kept", "duplicate_of", "earlier_corpus"])
            of_earlier = pc.not_equal(decisions["earlier_corpus"].cast(pa.string()), "").to_numpy()
            for first, found in members.items():
                for chosen, flags in ((kept, decisions["kept"].to_numpy()), (known, of_earlier)):
                    if first not in chosen and flags[found].any():
                        chosen[first] = decisions.slice(found[flags[found]][0], 1).to_pylist()[0]
                if start <= first < start + rows:
                    origin = read_table(out / "measurements" / path.name, ["source", "path"])
                    origins[first] = origin.slice(first - start, 1).to_pylist()[0]
        start += rows
    for first, size in clusters:
        decision = kept.get(first) or known.get(first) or {}
        yield Cluster(
            size,
            decision.get("duplicate_of") or decision.get("id", ""),
            decision.get("earlier_corpus", ""),
            origins[first]["source"],
            origins[first]["path"],
        )
