"""What the report says of code: how much of every language is in which quality class."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.code.classes import HIGH, LOW, MODERATE, TOO_LOW
from castline.corpus.rules.apply import PASSED
from castline.corpus.tables import read_table

LANGUAGES = 16  # that are shown; the rest is summed up


@dataclass(frozen=True)
class LanguageClasses:
    """The code in one language that passed the rules and is no duplicate."""

    language: str
    documents: int
    bytes: int
    shares: dict[str, float]  # of the bytes, by class


def code_classes(out: Path) -> list[LanguageClasses]:
    """All code, and then language by language, the largest first; empty where there is none."""
    tables = [_read(out, path.name) for path in sorted((out / "decisions").glob("*.parquet"))]
    table = pa.concat_tables(tables)
    if not len(table):
        return []
    languages, quality = (np.array(table[name].to_pylist(), dtype=object) for name in ("language", "quality"))
    return list(_rows(languages, quality, table["bytes"].to_numpy()))


def _read(out: Path, name: str) -> pa.Table:
    decided = read_table(out / "decisions" / name, ["rule", "quality"])
    measured = read_table(out / "measurements" / name, ["language", "bytes"])
    quality = decided["quality"].cast(pa.string())
    rule = np.array(decided["rule"].to_pylist(), dtype=object)
    chosen = ((rule == PASSED) | (rule == TOO_LOW)) & (np.array(quality.to_pylist(), dtype=object) != "")
    table = measured.append_column("quality", quality).filter(pa.array(chosen))
    return table.set_column(0, "language", table["language"].cast(pa.string()))


def _rows(
    languages: npt.NDArray[np.object_], quality: npt.NDArray[np.object_], size: npt.NDArray[np.int64]
) -> Iterator[LanguageClasses]:
    yield _row("all", quality, size)
    names = sorted(set(languages.tolist()), key=lambda name: (-size[languages == name].sum(), name))
    shown = names if len(names) <= LANGUAGES else names[: LANGUAGES - 1]
    for name in shown:
        yield _row(name, quality[languages == name], size[languages == name])
    others = ~np.isin(languages.astype(str), shown)
    if others.any():
        yield _row(f"{len(names) - len(shown)} others", quality[others], size[others])


def _row(name: str, quality: npt.NDArray[np.object_], size: npt.NDArray[np.int64]) -> LanguageClasses:
    total = int(size.sum())
    shares = {kind: float(size[quality == kind].sum() / max(total, 1)) for kind in (HIGH, MODERATE, LOW)}
    return LanguageClasses(name, len(size), total, shares)
