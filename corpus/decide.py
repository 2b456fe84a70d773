"""The third stage: who is kept. Rules look at measurements, duplicates at clusters; no text is read.

Writes `decisions/TASK-PART.parquet`, row by row beside the measurements: `kept`, and for a document that is
not the `rule` that drops it, with the `value` it measured and the `threshold` it missed, or the document
that it is a `duplicate_of` (of this corpus, or of the `earlier_corpus` that is named); its `cluster`; the `quality`
class of code; and for a kept one the `split`, and its `repeats`: how often one pass over its source reads it.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.code.classes import HIGH, LOW, TOO_LOW, quality_classes, scores
from castline.corpus.code.repositories import held_out_groups
from castline.corpus.config import CorpusConfig
from castline.corpus.duplicates import CLUSTERS
from castline.corpus.duplicates.keep import Integers, Preference, begins, columns_needed, preferences, representatives
from castline.corpus.rules.apply import PASSED, Flags, Floats, Names, apply_rules
from castline.corpus.split import HELD_OUT, TRAIN, held_out
from castline.corpus.tables import few_strings, fixed_width, read_table, rows_and_columns, strings, write_table
from castline.corpus.workers import Workers
from castline.errors import DataError

Ids = npt.NDArray[np.bytes_]

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
    """Decisions about all documents, not written yet. Every array has an element per document."""

    outcomes: dict[str, Outcome]  # of every source that has documents
    documents: dict[str, int]  # how many each file has, by its name
    ids: Ids
    kept: Flags
    rule: Names
    value: Floats
    threshold: Floats
    stays: Integers  # the document that it is a duplicate of; -1 for none
    known: Flags  # whether it is a duplicate of an earlier corpus's
    earlier: pa.Table  # of which: `earlier`, `earlier_corpus`
    named: Integers  # the document whose id is the name of its cluster
    split: Names
    quality: Names
    repeats: Integers

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """The files' names and tables, made one after the other."""
        start = 0
        for name, count in self.documents.items():
            yield name, self._table(slice(start, start + count))
            start += count

    def _table(self, rows: slice) -> pa.Table:
        known = pa.array(self.known[rows])
        earlier = self.earlier.slice(rows.start, rows.stop - rows.start)
        stays = self.stays[rows]
        duplicate_of = strings(np.where(stays >= 0, self.ids[stays], b""))
        return pa.table(
            {
                "id": strings(self.ids[rows]),
                "kept": self.kept[rows],
                "rule": _category(self.rule[rows]),
                "value": pa.array(self.value[rows], from_pandas=True),
                "threshold": pa.array(self.threshold[rows], from_pandas=True),
                "duplicate_of": pc.if_else(known, earlier["earlier"].combine_chunks(), duplicate_of),
                "earlier_corpus": pc.if_else(known, earlier["earlier_corpus"].combine_chunks(), "").dictionary_encode(),
                "cluster": strings(self.ids[self.named[rows]]),
                "split": _category(self.split[rows]),
                "quality": _category(self.quality[rows]),
                "repeats": self.repeats[rows],
            }
        )


def decide(out: Path, config: CorpusConfig, workers: Workers | None = None) -> dict[str, Outcome]:
    """Decide about every document of the corpus directory `out` and write the decisions.

    Args:
        out: the corpus directory.
        config: has the rules.
        workers: to share what is done part by part.

    Returns:
        The outcome of every source that has documents.

    Raises:
        DataError: measurements or duplicates are missing.
    """
    decisions = make_decisions(out, config, workers)
    write_decisions(out, decisions, workers.count if workers else 1)
    return decisions.outcomes


def write_decisions(out: Path, decisions: Decisions, threads: int = 1) -> None:
    """Write `decisions/` beside the measurements."""

    def write(named: tuple[str, pa.Table]) -> None:
        name, table = named
        write_table(out / "decisions" / name, table)

    tables = decisions.tables()
    with ThreadPoolExecutor(threads) as pool:
        while some := list(itertools.islice(tables, threads)):  # all at once would be much to hold
            list(pool.map(write, some))


def make_decisions(out: Path, config: CorpusConfig, workers: Workers | None = None) -> Decisions:
    """Decide about every document of the corpus directory `out`, writing nothing.

    Args:
        out: the corpus directory.
        config: has the rules.
        workers: to apply the rules with; without them it is done here.

    Raises:
        DataError: measurements or duplicates are missing.
    """
    measured = _read_measurements(out, config, workers or Workers(1))
    rule, value, threshold = measured.rule, measured.value, measured.threshold
    clustered = read_table(out / CLUSTERS, ["cluster", "earlier", "earlier_corpus"])
    cluster = clustered["cluster"].to_numpy()
    count = len(measured.ids)
    if len(cluster) != count:
        raise DataError(f"{out / CLUSTERS}: expected {count} rows, but found {len(cluster)}; build with --force")

    quality = quality_classes(measured.described, measured.score, rule == PASSED, config.code)
    too_low = (rule == PASSED) & (quality == LOW)
    rule[too_low], value[too_low], threshold[too_low] = TOO_LOW, measured.score[too_low], config.code.low

    passed = rule == PASSED
    stays = representatives(cluster, passed, measured.preferred)
    known = passed & pc.is_valid(clustered["earlier"]).to_numpy()
    kept = passed & ~known & (stays == np.arange(count))
    duplicate = passed & ~known & ~kept
    same = measured.contents[duplicate] == measured.contents[stays[duplicate]]
    # strings are assigned one at a time: an array of strings would become as many objects
    rule[duplicate] = NEAR_DUPLICATE
    rule[np.flatnonzero(duplicate)[same]] = EXACT_DUPLICATE
    rule[known] = DUPLICATE_OF_EARLIER

    named = _naming_documents(measured.ids, cluster)
    sources = few_strings(measured.described["source"])
    split = np.full(count, "", dtype=object)
    split[kept] = TRAIN
    groups, group = _held_out_groups(measured, sources, named, kept, config)
    chosen = held_out(groups, group, sources[kept], config.split.held_out, config.seed)
    split[np.flatnonzero(kept)[chosen]] = HELD_OUT
    return Decisions(
        outcomes={source: _outcome(rule, kept, split, sources == source) for source in dict.fromkeys(sources)},
        documents=measured.documents,
        ids=measured.ids,
        kept=kept,
        rule=rule,
        value=value,
        threshold=threshold,
        stays=np.where(duplicate, stays, -1),
        known=known,
        earlier=clustered.drop_columns("cluster"),
        named=named,
        split=split,
        quality=quality,
        repeats=kept * np.where(quality == HIGH, config.code.high_repeats, 1),
    )


@dataclass(frozen=True)
class _Measured:
    """What decisions need of the measurements, of all documents; the rules have been applied."""

    documents: dict[str, int]  # how many each file has, by its name
    ids: Ids
    contents: npt.NDArray[np.void]  # hashes of the texts
    described: pa.Table  # source, kind, language, bytes; the path where repositories are held out whole
    rule: Names
    value: Floats
    threshold: Floats
    score: Floats  # of code
    preferred: list[Preference]  # what is compared among duplicates


@dataclass(frozen=True)
class _Job:
    """One part of the measurements, and what is wanted of it."""

    path: Path
    config: CorpusConfig
    columns: list[str]  # that are needed in any way,
    described: list[str]  # as they are,
    compared: list[str]  # or among duplicates


@dataclass(frozen=True)
class _MeasuredPart:
    """Of one part what `_Measured` has of all."""

    ids: Ids
    contents: npt.NDArray[np.void]
    rule: Names
    value: Floats
    threshold: Floats
    score: Floats
    described: pa.Table
    compared: pa.Table


def _apply(job: _Job) -> _MeasuredPart:
    table = read_table(job.path, job.columns)
    rule, value, threshold = apply_rules(table, job.config.rules)
    return _MeasuredPart(
        ids=fixed_width(table["id"], "S32"),
        contents=fixed_width(table["content_hash"], "V16"),
        rule=rule,
        value=value,
        threshold=threshold,
        score=scores(table, job.config.code),
        described=table.select(job.described),
        compared=table.select([name for name in job.compared if name in table.column_names]),
    )


def _read_measurements(out: Path, config: CorpusConfig, workers: Workers) -> _Measured:
    names = sorted(path.name for path in (out / "measurements").glob("*.parquet"))
    if not names:
        raise DataError(f"expected measurements in {out}, but found none; `castline corpus build` makes them")
    columns = ["source", "kind", "language", "bytes"]
    columns += ["path"] if any(source.repository != "none" for source in config.sources) else []
    compared = columns_needed(config.dedup)
    wanted = {"id", "content_hash", config.code.score, *columns, *compared, *config.rules.columns()}
    paths = [out / "measurements" / name for name in names]
    shapes = [rows_and_columns(path) for path in paths]
    documents = {name: rows for name, (rows, _) in zip(names, shapes, strict=True)}
    count = sum(documents.values())
    # Arrays of the whole length are filled part by part: joining small ones would need the room twice.
    ids, contents = np.empty(count, "S32"), np.empty(count, "V16")
    rule = np.empty(count, dtype=object)
    value, threshold, score = np.empty(count), np.empty(count), np.empty(count)
    jobs = [
        _Job(path, config, [name for name in there if name in wanted], columns, compared)
        for path, (_, there) in zip(paths, shapes, strict=True)
    ]
    starts = np.cumsum([0, *documents.values()])
    tables: dict[int, tuple[pa.Table, pa.Table]] = {}
    for number, part in workers.run(_apply, jobs):
        rows = slice(starts[number], starts[number + 1])
        rule[rows], value[rows], threshold[rows] = part.rule, part.value, part.threshold
        ids[rows], contents[rows], score[rows] = part.ids, part.contents, part.score
        tables[number] = (part.described, part.compared)
    described, preferable = zip(*(tables[number] for number in range(len(jobs))), strict=True)
    return _Measured(
        documents=documents,
        ids=ids,
        contents=contents,
        described=pa.concat_tables(described),
        rule=rule,
        value=value,
        threshold=threshold,
        score=score,
        preferred=preferences(list(preferable), config.dedup),
    )


def _naming_documents(ids: Ids, cluster: Integers) -> Integers:
    """For every document the one with the smallest id in its cluster: a name that depends on no order of reading."""
    order = np.lexsort((ids, cluster))
    first = order[begins(cluster[order])]
    names = np.empty(len(ids), dtype=np.int64)
    names[cluster[first]] = first
    return names[cluster]


def _held_out_groups(
    measured: _Measured, sources: Names, named: Integers, kept: Flags, config: CorpusConfig
) -> tuple[Iterable[str | bytes], Integers]:
    """What documents are held out together with, clusters and repositories: names, and which each kept one has."""
    if "path" not in measured.described.column_names:
        is_name = np.zeros(len(kept), dtype=bool)
        is_name[named[kept]] = True
        number = np.cumsum(is_name) - 1
        return (measured.ids[i] for i in np.flatnonzero(is_name)), number[named[kept]]
    groups = measured.ids[named[kept]].astype("U32").astype(object)
    paths = measured.described["path"].filter(pa.array(kept))
    for source in config.sources:
        if source.repository != "none":
            rows = np.flatnonzero(sources[kept] == source.name)
            mine = paths.take(pa.array(rows)).to_pylist()
            names = held_out_groups(mine, groups[rows].tolist(), source.repository, config.split.held_out)
            groups[rows] = np.array(names, dtype=object)
    distinct, group = np.unique(groups, return_inverse=True)
    return distinct, group


def _outcome(rule: Names, kept: Flags, split: Names, mine: Flags) -> Outcome:
    return Outcome(
        dropped=dict(sorted(Counter(rule[mine & ~kept].tolist()).items())),
        kept={name: int((split[mine] == name).sum()) for name in (TRAIN, HELD_OUT)},
    )


def _category(values: Names) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()
