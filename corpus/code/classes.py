"""Quality classes of code: high is read more than once, low is dropped, unless its language is rare."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.code.config import CodeConfig
from castline.corpus.tables import few_strings
from castline.errors import DataError

HIGH, MODERATE, LOW = "high", "moderate", "low"
TOO_LOW = "code.low"  # the rule that drops the low class

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
Flags = npt.NDArray[np.bool_]


def scores(table: pa.Table, config: CodeConfig) -> Floats:
    """The scores of the documents of a measurement table; NaN for those that have none.

    Raises:
        DataError: there is code, but no such measurement.
    """
    column = table[config.score] if config.score in table.column_names else None
    if column is not None and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return np.asarray(column.to_numpy(), dtype=np.float64)
    if "code" in few_strings(table["kind"]):
        raise DataError(
            f"code.score: expected a measurement '{config.score}' that is a number, but this corpus has none; "
            "measure it again with `castline corpus build --force`, or name another"
        )
    return np.full(len(table), np.nan)


def quality_classes(documents: pa.Table, score: Floats, passed: Flags, config: CodeConfig) -> Names:
    """The class of every document of kind code, and "" for the others.

    Args:
        documents: all of the corpus, with `kind`, `language` and `bytes`.
        score: of each.
        passed: which have passed the rules. The shares that make a language rare are those of their bytes.
        config: the bounds.
    """
    code = few_strings(documents["kind"]) == "code"
    languages = few_strings(documents["language"])
    quality = np.full(len(code), "", dtype=object)
    quality[code] = MODERATE
    quality[code & (score >= config.high)] = HIGH
    low = code & (score < config.low)
    size = np.where(code & passed, documents["bytes"].to_numpy(), 0)
    for language in np.unique(languages[low]):
        mine = languages == language
        if size[mine].sum() >= config.rare * size.sum():
            quality[low & mine] = LOW
    return quality
