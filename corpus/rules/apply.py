"""Rules applied to a measurement table: which one drops a document, if any does."""

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.rules.config import RulesConfig
from castline.corpus.rules.rule_set import Bounds, Rule

PASSED = ""

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


def apply_rules(table: pa.Table, config: RulesConfig) -> tuple[Names, Floats, Floats]:
    """The first rule that each document of a measurement table breaks (`PASSED` for none).

    Returns:
        Arrays of shape [documents]: the rule's name, the value measured, the threshold missed (NaN for none).
    """
    names = [PASSED]
    broken = np.zeros(len(table), dtype=np.int32)  # an index into `names`
    value = np.full(len(table), np.nan)
    threshold = np.full(len(table), np.nan)
    measurements = functools.cache(functools.partial(measurement, table))
    for rows, rules in rules_by_group(table, config):
        passing = rows
        for rule in rules:
            measured = measurements(rule.measurement)[passing]
            bad = missed(rule.bounds, measured)
            if not bad.any():
                continue
            dropped = passing[bad]
            broken[dropped], value[dropped] = len(names), measured[bad]
            names.append(rule.name)
            low = np.nan if rule.bounds.min is None else rule.bounds.min
            high = np.nan if rule.bounds.max is None else rule.bounds.max
            threshold[dropped] = np.where(measured[bad] < low, low, high)
            passing = passing[~bad]
    return np.array(names, dtype=object)[broken], value, threshold


def missed(bounds: Bounds, values: Floats) -> Flags:
    """Which of `values` (any shape) drop their document; one that was not measured (NaN) does not."""
    low = -np.inf if bounds.min is None else bounds.min
    high = np.inf if bounds.max is None else bounds.max
    return (values < low) | (values > high)


def rules_by_group(table: pa.Table, config: RulesConfig) -> Iterator[tuple[Rows, list[Rule]]]:
    """The documents of every kind and language (their rows, in order) with the rules that hold for them."""
    for (kind, language), rows in documents_by_group(table):
        yield rows, config.for_documents(kind, language, table.column_names)


def documents_by_group(table: pa.Table) -> list[tuple[tuple[str, str], Rows]]:
    """The rows of a measurement table by kind and language, both groups and rows in order."""
    kinds, languages = _category(table, "kind"), _category(table, "language")
    codes = kinds.indices.to_numpy() * len(languages.dictionary) + languages.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    groups = {}
    for code, rows in zip(found.tolist(), np.split(order, starts)[1:], strict=True):
        kind, language = divmod(code, len(languages.dictionary))
        groups[kinds.dictionary[kind].as_py(), languages.dictionary[language].as_py()] = rows
    return sorted(groups.items(), key=lambda group: group[0])


def measurement(table: pa.Table, name: str) -> Floats:
    """A measurement of every document; NaN where it was not measured."""
    return table[name].to_numpy().astype(np.float64)  # type: ignore[no-any-return]


def _category(table: pa.Table, column: str) -> pa.DictionaryArray:
    return table[column].cast(pa.string()).combine_chunks().dictionary_encode()
