"""The histograms of the report: every measurement that a rule bounds, of the documents on which the rule holds.

And the scores that no rule bounds, to choose thresholds by. Measurements are read part by part, as many columns at a
time as fit into `MEMORY`, so any number of documents will do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from castline.corpus.annotate.findings import annotation_columns
from castline.corpus.code.classes import scores
from castline.corpus.config import CorpusConfig
from castline.corpus.histogram import Histogram, histogram
from castline.corpus.rules.apply import Floats, documents_by_group, measurement
from castline.corpus.rules.rule_set import Bounds
from castline.corpus.tables import read_table, rows_and_columns

MEMORY = 128 * 1024 * 1024
CODE = "code"
UNBOUNDED = "scores without a threshold"
_GROUP = ("kind", "language")

Group = tuple[str, str]


@dataclass(frozen=True)
class _Wanted:
    """A histogram to be drawn, under a title; of the documents in `groups`, or of all that have the measurement."""

    title: str
    column: str
    bounds: Bounds
    groups: frozenset[Group] | None = None


def histograms(out: Path, config: CorpusConfig, manifest: dict[str, Any]) -> dict[str, list[Histogram]]:
    """The histograms of the corpus `out` by rule set; none of what was measured of no document.

    Raises:
        DataError: a table is missing or damaged.
    """
    paths = sorted((out / "measurements").glob("*.parquet"))
    shapes = [rows_and_columns(path) for path in paths]
    wanted = _wanted(paths, shapes[0][1], config, manifest)
    columns = list(dict.fromkeys(one.column for one in wanted))
    at_once = max(1, MEMORY // (8 * max(1, sum(rows for rows, _ in shapes))))
    drawn: dict[_Wanted, Histogram] = {}
    for start in range(0, len(columns), at_once):
        some = columns[start : start + at_once]
        drawn |= _draw(paths, some, [one for one in wanted if one.column in some], config)
    result: dict[str, list[Histogram]] = {}
    for one in wanted:
        if one in drawn:
            result.setdefault(one.title, []).append(drawn[one])
    return result


def title(rule: str) -> str:
    """The name of a rule's set, for people: "gopher quality"."""
    return rule.partition(".")[0].replace("_", " ")


def _wanted(paths: list[Path], columns: list[str], config: CorpusConfig, manifest: dict[str, Any]) -> list[_Wanted]:
    groups = {group for path in paths for group, _ in documents_by_group(read_table(path, _GROUP))}
    holding: dict[tuple[str, str, Bounds], set[Group]] = {}
    for group in sorted(groups):
        for rule in config.rules.for_documents(*group, columns):
            holding.setdefault((title(rule.name), rule.measurement, rule.bounds), set()).add(group)
    found = [_Wanted(*rule, frozenset(its_groups)) for rule, its_groups in holding.items()]
    bounded = {one.column for one in found} | {config.code.score}
    if config.code.score in columns:
        found.append(_Wanted(CODE, config.code.score, Bounds(min=config.code.low)))
    alone = [name for name in annotation_columns(manifest, {"float64"}) if name not in bounded]
    return found + [_Wanted(UNBOUNDED, name, Bounds()) for name in alone]


def _draw(
    paths: list[Path], columns: list[str], wanted: Sequence[_Wanted], config: CorpusConfig
) -> Iterator[tuple[_Wanted, Histogram]]:
    values: dict[_Wanted, list[Floats]] = {one: [] for one in wanted}
    for path in paths:
        table = read_table(path, list(dict.fromkeys([*_GROUP, *columns])))
        groups = documents_by_group(table)
        measured = {name: measurement(table, name) for name in columns if name != config.code.score}
        if config.code.score in columns:
            measured[config.code.score] = scores(table, config.code)
        for one in wanted:
            mine = [rows for group, rows in groups if one.groups is None or group in one.groups]
            found = measured[one.column][np.concatenate(mine)] if mine else np.empty(0)
            values[one].append(found[~np.isnan(found)])
    for one, pieces in values.items():
        if sum(map(len, pieces)):
            yield one, histogram(one.column, np.concatenate(pieces), one.bounds)
