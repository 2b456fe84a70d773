"""The stage after encoding: the long documents of the training split are measured, and chosen from the measurements.

Writes `long_context/NAME.parquet` for every part: a row for each of its selected training documents of at least
`min_bytes` bytes. Bounds are applied whenever they are needed, so other bounds need no other scores.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from castline.corpus.config import CorpusConfig
from castline.corpus.long_context.config import LongContextConfig
from castline.corpus.long_context.predictability import (
    LongDocument,
    NgramScorer,
    PackageScorer,
    Scorer,
    scorer_identity,
)
from castline.corpus.long_context.statistics import statistics
from castline.corpus.measure import Part
from castline.corpus.rules.rule_set import Bounds
from castline.corpus.selected import selected_documents, selected_table
from castline.corpus.split import TRAIN
from castline.corpus.tables import read_table, write_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.progress import progress

FORMAT = 1
FOLDER = "long_context"
MEASURED = ("connective_fraction", "numeric_word_fraction", "context_gain")
SCHEMA = pa.schema(
    [("id", pa.string()), ("source", pa.string()), ("kind", pa.string()), ("language", pa.string())]
    + [("bytes", pa.int64())]
    + [(name, pa.float64()) for name in MEASURED]
)


@dataclass(frozen=True)
class Check:
    """A bound on a measurement of a long document."""

    rule: str  # "long_context.context_gain"
    value: float | None
    bounds: Bounds

    @property
    def passed(self) -> bool:
        """Whether the bound lets the document through; one that was not measured is."""
        return self.bounds.allow(self.value)


@dataclass(frozen=True)
class _Job:
    out: Path
    part: Part
    kind: str
    min_bytes: int


def check_scorer(config: CorpusConfig, base: Path) -> str | None:
    """What identifies the recipe's scorer; None without `[long_context]`.

    Raises:
        DataError: the recipe names a package that is not there.
    """
    return scorer_identity(config.long_context.scorer, base) if config.long_context else None


def measure_long_documents(
    parts: list[Part],
    config: CorpusConfig,
    base: Path,
    vocab_size: int,
    workspace: Workspace,
    depends_on: Any,
    pool: Workers,
) -> None:
    """Measure the long documents of every part that is not measured yet.

    Args:
        parts: what is selected, in order, encoded.
        config: the recipe's corpus tables; without `[long_context]` there is nothing to do.
        base: the folder that the scorer's path is relative to.
        vocab_size: of the corpus's tokenizer.
        workspace: of the corpus.
        depends_on: what identifies the tokenizer and the decisions.
        pool: to share the work; scoring uses as many threads.

    Raises:
        DataError: the scorer is no package, or cannot score.
    """
    long = config.long_context
    workspace.keep_only(FOLDER, (f"{part.name}.parquet" for part in parts if long))
    if long is None:
        return
    measuring = long.model_dump(mode="json", exclude={"rules", "sources", "scorer"})
    shared = [FORMAT, measuring, scorer_identity(long.scorer, base), depends_on, [part.sha256 for part in parts]]
    keys = {part.name: {"part": part.name, "shared": shared} for part in parts}
    todo = [part for part in parts if workspace.load(f"{FOLDER}/{part.name}", keys[part.name]) is None]
    kinds = {source.name: source.kind for source in config.sources}
    jobs = [_Job(workspace.out, part, kinds[part.source], long.min_bytes) for part in todo]
    rows = dict(pool.run(_statistics, jobs))
    make_scorer = _scorer_maker(long, base, workspace.out, parts, vocab_size, pool.count)
    scorer: Scorer | None = None
    with progress("scoring long documents", sum(len(found) for found in rows.values()), "documents") as advance:
        for number, part in enumerate(todo):
            table = rows[number]
            if table:
                scorer = scorer or make_scorer()
                gains = scorer.gains(part, list(_documents(jobs[number])))
                for row, gain in zip(table, gains, strict=True):
                    row["context_gain"] = gain
            path = workspace.out / FOLDER / f"{part.name}.parquet"
            write_table(path, pa.Table.from_pylist(table, schema=SCHEMA))
            workspace.save(f"{FOLDER}/{part.name}", keys[part.name], {}, [path])
            advance(len(table))


def _scorer_maker(
    long: LongContextConfig, base: Path, out: Path, parts: list[Part], vocab_size: int, threads: int
) -> Callable[[], Scorer]:
    pairs = (long.segment_tokens, long.segment_pairs)
    if long.scorer == "ngram":
        return lambda: NgramScorer(out, parts, vocab_size, pairs, threads)
    return lambda: PackageScorer(base / long.scorer, pairs, threads)


def _statistics(job: _Job) -> list[dict[str, Any]]:
    """The rows of a part's long documents, without a gain yet."""
    languages = selected_table(job.out, job.part)["language"].to_pylist()
    return [
        {
            "id": document.id,
            "source": job.part.source,
            "kind": job.kind,
            "language": languages[document.row],
            "bytes": len(document.text.encode()),
            **asdict(statistics(document.text, languages[document.row])),
        }
        for document in _documents(job)
    ]


def _documents(job: _Job) -> Iterator[LongDocument]:
    table = selected_table(job.out, job.part)
    long = table["bytes"].to_numpy() >= job.min_bytes
    train = np.array(table["split"].to_pylist(), dtype=object) == TRAIN
    if not (long & train).any():
        return
    for row, document in enumerate(selected_documents(job.out, job.part)):
        if long[row] and train[row]:
            yield LongDocument(document.id, row, document.text)


def long_documents(out: Path) -> list[dict[str, Any]]:
    """The measurements of all long documents of a corpus, in order; none where it has no `[long_context]`."""
    paths = sorted((out / FOLDER).glob("*.parquet"))
    return [row for path in paths for row in read_table(path, SCHEMA.names).to_pylist()]


def checks(row: dict[str, Any], config: LongContextConfig) -> list[Check]:
    """The bounds that hold for a long document, in order."""
    rules = config.rules_for(row["source"]).rules(row["kind"], row["language"])
    return [Check(f"{FOLDER}.{name}", row[column], bounds) for name, column, bounds in rules]


def chosen_documents(out: Path, config: LongContextConfig) -> tuple[set[str], dict[str, Any]]:
    """Decide about all long documents.

    Returns:
        The ids of those that are chosen; and per source how many there are, how many are chosen, and by which rule
        the others are not.
    """
    chosen: set[str] = set()
    accounts: dict[str, dict[str, Any]] = {}
    for row in long_documents(out):
        account = accounts.setdefault(row["source"], {"documents": 0, "chosen": 0, "refused": Counter()})
        account["documents"] += 1
        failed = next((check.rule for check in checks(row, config) if not check.passed), None)
        if failed is None:
            chosen.add(row["id"])
            account["chosen"] += 1
        else:
            account["refused"][failed] += 1
    return chosen, {
        source: account | {"refused": dict(sorted(account["refused"].items()))} for source, account in accounts.items()
    }
