"""What the report says of code: how much of every language is in which quality class."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from castline.corpus.code.classes import HIGH, LOW, MODERATE, TOO_LOW
from castline.corpus.rules.apply import PASSED
from castline.corpus.tables import few_strings, read_table

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
    tables = [table for path in sorted((out / "decisions").glob("*.parquet")) for table in _read(out, path.name)]
    if not sum(map(len, tables)):
        return []
    languages, quality = (
        np.concatenate([few_strings(table[name]) for table in tables]) for name in ("language", "quality")
    )
    return list(_rows(languages, quality, np.concatenate([table["bytes"].to_numpy() for table in tables])))


def _read(out: Path, name: str) -> Iterator[pa.Table]:
    """The language, size and class of the code in one part that passed the rules; nothing where there is no code."""
    decided = read_table(out / "decisions" / name, ["rule", "quality"])
    rule, quality = few_strings(decided["rule"]), few_strings(decided["quality"])
    chosen = ((rule == PASSED) | (rule == TOO_LOW)) & (quality != "")
    if chosen.any():
        measured = read_table(out / "measurements" / name, ["language", "bytes"])
        yield measured.append_column("quality", decided["quality"]).filter(pa.array(chosen))


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
