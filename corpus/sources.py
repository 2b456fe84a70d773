"""Finding the files of a source, and dividing them into tasks that any number of workers share."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from castline.corpus.config import Source
from castline.corpus.git import GitFile, is_repository, tracked_files
from castline.corpus.matching import matches
from castline.corpus.readers.formats import can_be_divided
from castline.errors import DataError, RecipeError

TASK_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 32 * 1024 * 1024  # larger files are read in pieces, where their format allows it
WORKSPACE = ".castline"  # the folder that marks a corpus directory
_EVERYTHING = "**/*"
_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, or a piece of a large one; `path` is relative to the fixed part of the source's glob."""

    location: Path  # of a git repository's file the repository
    path: str
    size: int
    modified_ns: int
    span: tuple[int, int] | None = None  # the piece: bytes; records that begin in it belong to it
    first_line: int = 1  # of the piece
    git: GitFile | None = None
    unlisted: str = ""  # of a folder that cannot be looked into: why

    @property
    def length(self) -> int:
        """Bytes to read."""
        return self.span[1] - self.span[0] if self.span else self.size

    @property
    def identity(self) -> list[object]:
        """What changes when the content does, as JSON values."""
        git = self.git and [self.git.object, self.git.commit]
        return [self.path, self.size, self.modified_ns, self.span, git, self.unlisted]


@dataclass(frozen=True)
class Task:
    """Files of one source that one worker reads in one go; `index` numbers the tasks of a build."""

    index: int
    source: Source
    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(file.length for file in self.files)

    @property
    def file_count(self) -> int:
        """How many files begin in this task: of a large file in pieces only the first counts."""
        return sum(file.span is None or file.span[0] == 0 for file in self.files)


def find_files(source: Source, base: Path) -> list[SourceFile]:
    """The files of a source, sorted by path: a glob's matches, a folder's files at any depth, or one file.

    Below the fixed part of the glob, names that begin with a dot are left out, as in a shell, and so are
    corpora that castline wrote; `**` follows no links to folders. A folder that cannot be listed stands for itself.

    Raises:
        DataError: nothing matches.
        RecipeError: the path is no valid glob.
    """
    folder, glob = _divide(source.path, base)
    try:
        repositories = _repositories(source, folder, glob)
        found = [file for repository in repositories for file in _tracked(repository, folder)]
        found = found or ([] if repositories else list(_matches(folder, glob)))
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
        return whole, _EVERYTHING
    if whole.is_file():  # its name may look like a glob
        return whole.parent, _WILDCARD.sub(r"[\g<0>]", whole.name)
    parts = Path(path).parts
    depth = next((depth for depth, part in enumerate(parts) if _WILDCARD.search(part)), len(parts) - 1)
    glob = "/".join(parts[depth:])
    return base.joinpath(*parts[:depth]), f"{glob}/*" if glob.endswith("**") else glob


def _repositories(source: Source, folder: Path, glob: str) -> list[Path]:
    """The git repositories that the source's path means: with format git, or where code is one itself."""
    if source.format != "git" and not (source.format == "auto" and source.kind == "code"):
        return []
    if glob == _EVERYTHING and is_repository(folder):
        return [folder]
    if source.format == "auto":
        return []
    pattern = "*" if glob == _EVERYTHING else glob
    found = sorted(path for path in folder.glob(pattern) if path.is_dir())
    return [path for path in found if is_repository(path)]


def _tracked(repository: Path, folder: Path) -> Iterator[SourceFile]:
    prefix = repository.relative_to(folder).as_posix()
    for path, size, file in tracked_files(repository):
        if not any(part.startswith(".") for part in path.split("/")):
            yield SourceFile(repository, path if prefix == "." else f"{prefix}/{path}", size, 0, git=file)


def _matches(folder: Path, glob: str) -> Iterator[SourceFile]:
    for match in matches(folder, glob, mark=WORKSPACE):
        path = os.fsencode(match.relative).decode("utf-8", "backslashreplace")
        status = _status(match.location)
        if status is None or match.unlisted:
            yield SourceFile(match.location, path, 0, 0, unlisted=match.unlisted)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            yield SourceFile(match.location, path, status.st_size, status.st_mtime_ns)


def _status(location: Path) -> os.stat_result | None:
    """Of a file, or of a link that leads nowhere; None where that is not to be known."""
    try:
        return location.stat()
    except OSError:
        try:
            return location.lstat()
        except OSError:
            return None


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
            if file.size > PIECE_BYTES and can_be_divided(source, file.path):
                tasks += [Task(len(tasks) + number, source, (piece,)) for number, piece in enumerate(_pieces(file))]
            else:
                group.append(file)
                size += file.size
        if group:
            tasks.append(Task(len(tasks), source, tuple(group)))
    return tasks


def _pieces(file: SourceFile) -> list[SourceFile]:
    starts = range(0, file.size, PIECE_BYTES)
    return [replace(file, span=(start, min(start + PIECE_BYTES, file.size))) for start in starts]
