"""Finding the files of a source, and dividing them into tasks that any number of workers share."""

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from castline.corpus.config import Source
from castline.errors import DataError, RecipeError

TASK_BYTES = 8 * 1024 * 1024
WORKSPACE = ".castline"  # the folder that marks a corpus directory
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source; `path` is relative to the fixed part of the source's glob."""

    location: Path
    path: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Task:
    """Files of one source that one worker reads in one go; `index` numbers the tasks of a build."""

    index: int
    source: Source
    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(file.size for file in self.files)


def find_files(source: Source, base: Path) -> list[SourceFile]:
    """The files of a source, sorted by path: a glob's matches, a folder's files at any depth, or one file.

    Below the fixed part of the glob, names that begin with a dot are left out, as in a shell, and so are
    corpora that castline wrote; links to folders are not followed.

    Raises:
        DataError: nothing matches.
        RecipeError: the path is no valid glob.
    """
    folder, glob = _divide(source.path, base)
    try:
        found = list(_matches(folder, glob))
    except ValueError as error:
        raise RecipeError(f"source '{source.name}': expected a glob such as docs/**/*.txt, but got {error}") from None
    if not found:
        what = "no file matches" if folder.is_dir() else f"there is no {folder}"
        raise DataError(
            f"source '{source.name}': expected files at {base / source.path}, but {what}; "
            "paths are relative to the recipe, ** matches folders at any depth"
        )
    return sorted(found, key=lambda file: file.path)


def _divide(path: str, base: Path) -> tuple[Path, str]:
    """The fixed folder of a path, and the glob below it."""
    whole = base / path
    if whole.is_dir():
        return whole, "**/*"
    if whole.is_file():  # its name may look like a glob
        return whole.parent, _WILDCARD.sub(r"[\g<0>]", whole.name)
    parts = Path(path).parts
    depth = next((depth for depth, part in enumerate(parts) if _WILDCARD.search(part)), len(parts) - 1)
    glob = "/".join(parts[depth:])
    return base.joinpath(*parts[:depth]), f"{glob}/*" if glob.endswith("**") else glob


def _matches(folder: Path, glob: str) -> Iterator[SourceFile]:
    is_corpus = functools.cache(lambda parent: (parent / WORKSPACE).is_dir())
    for location in folder.glob(glob):
        relative = location.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not location.is_file():
            continue
        if not any(is_corpus(parent) for parent in location.parents[: len(relative.parts) - 1]):
            status = location.stat()
            path = os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")
            yield SourceFile(location, path, status.st_size, status.st_mtime_ns)


def make_tasks(sources: tuple[Source, ...], base: Path) -> list[Task]:
    """Divide the files of all sources into tasks of about `TASK_BYTES`, in a fixed order.

    Raises:
        DataError: a source matches no file.
    """
    tasks: list[Task] = []
    for source in sources:
        group: list[SourceFile] = []
        size = 0
        for file in find_files(source, base):
            if group and size + file.size > TASK_BYTES:
                tasks.append(Task(len(tasks), source, tuple(group)))
                group, size = [], 0
            group.append(file)
            size += file.size
        tasks.append(Task(len(tasks), source, tuple(group)))
    return tasks
