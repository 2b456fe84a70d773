"""Rules applied to a measurement table: which one drops a document, if any does."""

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


def apply_rules(table: pa.Table, config: RulesConfig) -> tuple[Names, Floats, Floats]:
    """The first rule that each document of a measurement table breaks (`PASSED` for none).

    Returns:
        Arrays of shape [documents]: the rule's name, the value measured, the threshold missed (NaN for none).
    """
    names = [PASSED]
    broken = np.zeros(len(table), dtype=np.int32)  # an index into `names`
    value = np.full(len(table), np.nan)
    threshold = np.full(len(table), np.nan)
    for group, rules in rules_by_group(table, config):
        for rule in rules:
            measured = _measured(table, rule)
            rows = np.flatnonzero(group & (broken == 0) & missed(rule.bounds, measured))
            if len(rows):
                broken[rows], value[rows] = len(names), measured[rows]
                names.append(rule.name)
                low = np.nan if rule.bounds.min is None else rule.bounds.min
                high = np.nan if rule.bounds.max is None else rule.bounds.max
                threshold[rows] = np.where(measured[rows] < low, low, high)
    return np.array(names, dtype=object)[broken], value, threshold


def missed(bounds: Bounds, values: Floats) -> Flags:
    """Which of `values` (any shape) drop their document; one that was not measured (NaN) does not."""
    low = -np.inf if bounds.min is None else bounds.min
    high = np.inf if bounds.max is None else bounds.max
    return (values < low) | (values > high)


def rules_by_group(table: pa.Table, config: RulesConfig) -> Iterator[tuple[Flags, list[Rule]]]:
    """The documents of every kind and language (as a mask of shape [documents]) with the rules that hold for them."""
    kinds, languages = _category(table, "kind"), _category(table, "language")
    codes = kinds.indices.to_numpy() * len(languages.dictionary) + languages.indices.to_numpy()
    groups = {}
    for code in np.unique(codes).tolist():
        kind, language = divmod(code, len(languages.dictionary))
        groups[kinds.dictionary[kind].as_py(), languages.dictionary[language].as_py()] = code
    for (kind, language), code in sorted(groups.items()):
        yield codes == code, config.for_documents(kind, language, table.column_names)


def _measured(table: pa.Table, rule: Rule) -> Floats:
    """The rule's measurement of every document; NaN where it was not measured."""
    return table[rule.measurement].to_numpy().astype(np.float64)  # type: ignore[no-any-return]


def _category(table: pa.Table, column: str) -> pa.DictionaryArray:
    return table[column].cast(pa.string()).combine_chunks().dictionary_encode()
