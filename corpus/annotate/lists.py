"""Files that a recipe's tables name: found, hashed, and read as lists of one entry per line."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from castline.errors import DataError
from castline.files import sha256_file


@dataclass(frozen=True)
class ListFile:
    """A file and what was in it when the build began; equal ones hold the same."""

    path: Path
    sha256: str


def find_lists(names: Iterable[str], base: Path) -> tuple[ListFile, ...]:
    """The files that names or globs stand for, relative to `base`, sorted for each glob.

    Raises:
        DataError: one stands for no file, or a file cannot be read.
    """
    paths: list[Path] = []
    for name in names:
        whole = base / name
        if whole.is_file():
            paths.append(whole)
            continue
        pattern = Path(name)
        start = Path(pattern.anchor) if pattern.is_absolute() else base
        parts = pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern
        found = sorted(path for path in start.glob(str(parts)) if path.is_file())
        if not found:
            raise DataError(f"expected a file at {whole}, but there is none; paths are relative to the recipe")
        paths += found
    try:
        return tuple(ListFile(path, sha256_file(path)) for path in dict.fromkeys(paths))
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None


def describe(files: Iterable[ListFile]) -> str:
    """The files' names, for messages."""
    return ", ".join(str(file.path) for file in files)


def read_entries(files: Iterable[ListFile]) -> list[str]:
    """The entries of all files, in order: lines that are neither blank nor a comment (`#`), each once.

    Raises:
        DataError: a file cannot be read, is not UTF-8, or has no entry.
    """
    entries: dict[str, None] = {}
    for file in files:
        lines = read_text(file).splitlines()
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise DataError(f"{file.path}: expected one entry per line, but found none")
        entries |= dict.fromkeys(found)
    return list(entries)


def read_text(file: ListFile) -> str:
    """The whole file.

    Raises:
        DataError: it cannot be read or is not UTF-8.
    """
    try:
        return file.path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {file.path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file.path}: expected UTF-8 text, but found {error.reason} at byte {error.start}") from None
