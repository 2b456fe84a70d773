"""Which document of a cluster of duplicates stays. Looks at measurements only."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.duplicates.config import DedupConfig
from castline.errors import RecipeError

Integers = npt.NDArray[np.int64]
Preference = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def columns_needed(config: DedupConfig) -> list[str]:
    """The columns of a measurement table that `preferences` looks at, as far as the table has them."""
    chosen = {"newest": ["date"], "best": [config.best_by]}.get(config.keep, [])
    return chosen if config.keep == "first" else [*chosen, "bytes"]


def preferences(tables: list[pa.Table], config: DedupConfig) -> list[Preference]:
    """What the policy compares, the most important first; the higher is kept. Unknown values come last.

    Args:
        tables: the measurements of all documents; a column may be missing where it was not measured.
        config: has the policy.

    Returns:
        Arrays of shape [documents].

    Raises:
        RecipeError: no table has the column that the policy looks at, or it does not hold numbers.
    """
    return [_preference(tables, name, config) for name in columns_needed(config)]


def _preference(tables: list[pa.Table], name: str, config: DedupConfig) -> Preference:
    found = [table[name].type for table in tables if name in table.column_names]
    if not found:
        raise RecipeError(f"dedup.keep = \"{config.keep}\": expected a measurement '{name}', but this corpus has none")
    kind = next((one for one in found if not pa.types.is_null(one)), pa.float64())
    if config.keep == "best" and name == config.best_by and not _is_numeric(kind):
        raise RecipeError(f"dedup.best_by: expected a measurement of numbers, but '{name}' holds {kind}")
    chunks = [
        table[name].cast(kind) if name in table.column_names else pa.chunked_array([pa.nulls(len(table), kind)])
        for table in tables
    ]
    values = pa.chunked_array([chunk for column in chunks for chunk in column.chunks], kind)
    if _is_numeric(kind):
        numbers = pc.fill_null(values.cast(pa.float64()), -np.inf).to_numpy()
        return np.where(np.isnan(numbers), -np.inf, numbers)
    return np.asarray(pc.rank(pc.fill_null(values, ""), tiebreaker="dense"), np.int64)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def representatives(cluster: Integers, passed: Flags, preferred: list[Preference]) -> Integers:
    """For every document the one that stays of its cluster.

    Of those that passed the rules it is the preferred one, and of equals the first. Where none passed it is one of
    the others, and nobody asks.

    Args:
        cluster: shape [documents], the number of the first document of each one's cluster.
        passed: shape [documents], whether it passed the rules.
        preferred: arrays of shape [documents], the most important first; the higher is preferred.
    """
    order = np.lexsort(
        (*(-values for values in reversed(preferred)), ~passed, cluster)
    )  # which keeps the order of equals
    first = order[begins(cluster[order])]
    representative = np.empty(len(cluster), dtype=np.int64)
    representative[cluster[first]] = first
    return representative[cluster]


def begins(numbers: Integers) -> Flags:
    """Where another number begins in sorted ones."""
    flags = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=flags[1:])
    return flags
