"""The third stage: who is kept. Rules look at measurements, duplicates at clusters; no text is read.

Writes `decisions/TASK-PART.parquet`, row by row beside the measurements: `kept`, and for a document that is
not the `rule` that drops it, with the `value` it measured and the `threshold` it missed, or the document
that it is a `duplicate_of` (of this corpus, or of the `earlier_corpus` that is named); its `cluster`; the `quality`
class of code; and for a kept one the `split`, and its `repeats`: how often one pass over its source reads it.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.code.classes import HIGH, LOW, TOO_LOW, quality_classes, scores
from castline.corpus.code.repositories import held_out_groups
from castline.corpus.config import CorpusConfig
from castline.corpus.duplicates import CLUSTERS
from castline.corpus.duplicates.keep import Integers, columns_needed, preferences, representatives
from castline.corpus.rules.apply import PASSED, Flags, Names, apply_rules
from castline.corpus.split import HELD_OUT, TRAIN, held_out
from castline.corpus.tables import read_table, write_table
from castline.errors import DataError

EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"
DUPLICATE_OF_EARLIER = "duplicate_of_earlier"
DUPLICATES = (EXACT_DUPLICATE, NEAR_DUPLICATE, DUPLICATE_OF_EARLIER)


@dataclass(frozen=True)
class Outcome:
    """What was decided about the documents of one source."""

    dropped: dict[str, int]  # by rule
    kept: dict[str, int]  # by split


@dataclass(frozen=True)
class Decisions:
    """Decisions about all documents, not written yet."""

    tables: dict[str, pa.Table]  # by file name
    outcomes: dict[str, Outcome]  # of every source that has documents


def decide(out: Path, config: CorpusConfig) -> dict[str, Outcome]:
    """Decide about every document of the corpus directory `out` and write the decisions.

    Returns:
        The outcome of every source that has documents.

    Raises:
        DataError: measurements or duplicates are missing.
    """
    decisions = make_decisions(out, config)
    write_decisions(out, decisions)
    return decisions.outcomes


def write_decisions(out: Path, decisions: Decisions) -> None:
    """Write `decisions/` beside the measurements."""
    for name, table in decisions.tables.items():
        write_table(out / "decisions" / name, table)


def make_decisions(out: Path, config: CorpusConfig) -> Decisions:
    """Decide about every document of the corpus directory `out`, writing nothing.

    Raises:
        DataError: measurements or duplicates are missing.
    """
    names = sorted(path.name for path in (out / "measurements").glob("*.parquet"))
    if not names:
        raise DataError(f"expected measurements in {out}, but found none; `castline corpus build` makes them")
    verdicts, identities, scored, preferable = [], [], [], []
    for name in names:
        table = read_table(out / "measurements" / name)
        verdicts.append(apply_rules(table, config.rules))
        identities.append(table.select(["id", "source", "path", "content_hash", "kind", "language", "bytes"]))
        scored.append(scores(table, config.code))
        preferable.append(table.select([name for name in columns_needed(config.dedup) if name in table.column_names]))
    rule = np.concatenate([verdict[0] for verdict in verdicts])
    everything = pa.concat_tables(identities)
    ids = _column(everything, "id", "S32")
    sources = _column(everything, "source", "O")
    clustered = read_table(out / CLUSTERS, ["cluster", "earlier", "earlier_corpus"])
    cluster = clustered["cluster"].to_numpy()
    if len(cluster) != len(ids):
        raise DataError(f"{out / CLUSTERS}: expected {len(ids)} rows, but found {len(cluster)}; build with --force")

    value = np.concatenate([verdict[1] for verdict in verdicts])
    threshold = np.concatenate([verdict[2] for verdict in verdicts])
    score = np.concatenate(scored)
    quality = quality_classes(everything, score, rule == PASSED, config.code)
    too_low = (rule == PASSED) & (quality == LOW)
    rule[too_low], value[too_low], threshold[too_low] = TOO_LOW, score[too_low], config.code.low

    passed = rule == PASSED
    stays = representatives(cluster, passed, preferences(preferable, config.dedup))
    known = passed & pc.is_valid(clustered["earlier"]).to_numpy()
    kept = passed & ~known & (stays == np.arange(len(ids)))
    duplicate = passed & ~known & ~kept
    hashes = _column(everything, "content_hash", "V16")
    rule[duplicate] = np.where(hashes[duplicate] == hashes[stays[duplicate]], EXACT_DUPLICATE, NEAR_DUPLICATE)
    rule[known] = DUPLICATE_OF_EARLIER

    clusters = _cluster_names(ids, cluster)
    split = np.where(kept, TRAIN, "").astype(object)
    groups = _held_out_groups(everything["path"], clusters, sources, kept, config)
    chosen = held_out(groups[kept].tolist(), sources[kept].tolist(), config.split.held_out, config.seed)
    split[np.flatnonzero(kept)[chosen]] = HELD_OUT

    decisions = pa.table(
        {
            "id": _strings(ids),
            "kept": kept,
            "rule": pa.array(rule, pa.string()).dictionary_encode(),
            "value": pa.array(value, from_pandas=True),
            "threshold": pa.array(threshold, from_pandas=True),
            "duplicate_of": pc.if_else(known, clustered["earlier"], _strings(np.where(duplicate, ids[stays], b""))),
            "earlier_corpus": pc.if_else(known, clustered["earlier_corpus"], "").combine_chunks().dictionary_encode(),
            "cluster": _strings(clusters),
            "split": pa.array(split, pa.string()).dictionary_encode(),
            "quality": pa.array(quality, pa.string()).dictionary_encode(),
            "repeats": kept * np.where(quality == HIGH, config.code.high_repeats, 1),
        }
    )
    tables = {}
    start = 0
    for name, identity in zip(names, identities, strict=True):
        tables[name] = decisions.slice(start, len(identity))
        start += len(identity)
    outcomes = {source: _outcome(rule, kept, split, sources == source) for source in dict.fromkeys(sources)}
    return Decisions(tables, outcomes)


def _cluster_names(ids: npt.NDArray[np.bytes_], cluster: Integers) -> npt.NDArray[np.bytes_]:
    """A name for every document's cluster that does not depend on the order of reading: its smallest id."""
    order = np.lexsort((ids, cluster))
    first = np.unique(cluster[order], return_index=True)[1]
    names = np.empty_like(ids)
    names[cluster[order[first]]] = ids[order[first]]
    return names[cluster]


def _held_out_groups(
    paths: pa.ChunkedArray, clusters: npt.NDArray[np.bytes_], sources: Names, kept: Flags, config: CorpusConfig
) -> Names:
    """What is held out together: a cluster, or a repository."""
    groups = clusters.astype(object)
    for source in config.sources:
        if source.repository != "none":
            rows = np.flatnonzero(kept & (sources == source.name))
            names = held_out_groups(
                paths.take(pa.array(rows)).to_pylist(), groups[rows].tolist(), source.repository, config.split.held_out
            )
            groups[rows] = np.array(names, dtype=object)
    return groups


def _outcome(rule: Names, kept: Flags, split: Names, mine: Flags) -> Outcome:
    return Outcome(
        dropped=dict(sorted(Counter(rule[mine & ~kept].tolist()).items())),
        kept={name: int((split[mine] == name).sum()) for name in (TRAIN, HELD_OUT)},
    )


def _column(table: pa.Table, name: str, dtype: str) -> npt.NDArray[Any]:
    return np.array(table[name].to_pylist(), dtype=dtype)


def _strings(values: npt.NDArray[Any]) -> pa.Array:
    return pc.cast(pa.array(values, pa.binary()), pa.string())
