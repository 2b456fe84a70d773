"""Looking up which packed document holds a file, and which files a packed document holds."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from castline.corpus.selected import PACKED
from castline.corpus.tables import read_table


@dataclass(frozen=True)
class PackedRange:
    """Where a file is: bytes `[start, end)` of a packed document."""

    document: str
    start: int
    end: int


def packed_range(out: Path, file: str) -> PackedRange | None:
    """Where the file with this id is; None where it is in no packed document."""
    for path in _tables(out):
        table = read_table(path)
        for row in table.filter(pc.equal(table["file"], file)).to_pylist():
            return PackedRange(row["document"], row["start"], row["end"])
    return None


def find_packed_files(out: Path, prefix: str) -> list[tuple[str, str]]:
    """Ids and paths of the files in packed documents whose ids begin with `prefix`, in order."""
    found: list[tuple[str, str]] = []
    for path in _tables(out):
        table = read_table(path, ["document", "file", "path"])
        rows = table.filter(pc.starts_with(table["document"], prefix)).to_pylist()
        found += [(row["file"], row["path"]) for row in rows]
    return found


def _tables(out: Path) -> list[Path]:
    return sorted((out / PACKED).glob("*.files.parquet"))
