"""Which document of a cluster of duplicates stays. Looks at measurements only."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.duplicates.config import DedupConfig
from castline.errors import RecipeError

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def columns_needed(config: DedupConfig) -> list[str]:
    """The columns of a measurement table that `preferences` looks at, as far as the table has them."""
    chosen = {"newest": ["date"], "best": [config.best_by]}.get(config.keep, [])
    return chosen if config.keep == "first" else [*chosen, "bytes"]


def preferences(tables: list[pa.Table], config: DedupConfig) -> list[Integers]:
    """What the policy compares, the most important first; the higher is kept. Unknown values come last.

    Args:
        tables: the measurements of all documents; a column may be missing where it was not measured.
        config: has the policy.

    Returns:
        Arrays of shape [documents].

    Raises:
        RecipeError: no table has the column that the policy looks at, or it does not hold numbers.
    """
    return [_ranks(tables, name, config) for name in columns_needed(config)]


def _ranks(tables: list[pa.Table], name: str, config: DedupConfig) -> Integers:
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
        return np.unique(np.nan_to_num(numbers, nan=-np.inf), return_inverse=True)[1].astype(np.int64)
    return np.asarray(pc.rank(pc.fill_null(values, ""), tiebreaker="dense"), np.int64)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def representatives(cluster: Integers, passed: Flags, preferred: list[Integers]) -> Integers:
    """For every document the one that stays of its cluster.

    Of those that passed the rules it is the preferred one, and of equals the first. Where none passed it is one of
    the others, and nobody asks.

    Args:
        cluster: shape [documents], the number of the first document of each one's cluster.
        passed: shape [documents], whether it passed the rules.
        preferred: arrays of shape [documents], the most important first; the higher is preferred.
    """
    order = np.lexsort((np.arange(len(cluster)), *(-values for values in reversed(preferred)), ~passed, cluster))
    first = np.unique(cluster[order], return_index=True)[1]
    representative = np.empty(len(cluster), dtype=np.int64)
    representative[cluster[order[first]]] = order[first]
    return representative[cluster]
