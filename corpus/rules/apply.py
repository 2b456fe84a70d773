"""Rules applied to a measurement table: which one drops a document, if any does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.rules.config import RulesConfig
from castline.corpus.rules.rule_set import Rule

PASSED = ""

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
Flags = npt.NDArray[np.bool_]


def apply_rules(table: pa.Table, config: RulesConfig) -> tuple[Names, Floats, Floats]:
    """The first rule that each document of a measurement table breaks (`PASSED` for none).

    Returns:
        Arrays of shape [documents]: the rule's name, the value measured, the threshold missed (NaN for none).
    """
    broken: Names = np.full(len(table), PASSED, dtype=object)
    value = np.full(len(table), np.nan)
    threshold = np.full(len(table), np.nan)
    for group, rules in rules_by_group(table, config):
        for rule in rules:
            measured = table[rule.measurement].to_numpy().astype(np.float64)  # NaN where it was not measured
            low = -np.inf if rule.bounds.min is None else rule.bounds.min
            high = np.inf if rule.bounds.max is None else rule.bounds.max
            for missed, bound in ((measured < low, low), (measured > high, high)):
                rows = group & (broken == PASSED) & missed
                broken[rows], value[rows], threshold[rows] = rule.name, measured[rows], bound
    return broken, value, threshold


def rules_by_group(table: pa.Table, config: RulesConfig) -> Iterator[tuple[Flags, list[Rule]]]:
    """The documents of every kind and language (as a mask of shape [documents]) with the rules that hold for them."""
    kinds, languages = _names(table, "kind"), _names(table, "language")
    for kind, language in sorted(set(zip(kinds, languages, strict=True))):
        yield (kinds == kind) & (languages == language), config.for_documents(kind, language, table.column_names)


def _names(table: pa.Table, column: str) -> npt.NDArray[Any]:
    return np.array(table[column].to_pylist(), dtype=object)
