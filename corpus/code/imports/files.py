"""The files of a repository as the import parsers see them: by language, by path, and by the end of a path."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class CodeFile:
    """One file of a repository; its path has "/" between folders."""

    path: str
    language: str
    text: str


class Module(NamedTuple):
    """A name that can be imported, and the folder that the name is relative to."""

    root: str
    path: str


class Import(NamedTuple):
    """One file importing another; `deferred` where it need not be there when the importer is loaded."""

    importer: str
    imported: str
    deferred: bool = False


class Files:
    """All files of one repository, in the order of their paths."""

    def __init__(self, files: Sequence[CodeFile]) -> None:
        self._files = sorted(files, key=lambda file: file.path)
        self.paths = frozenset(file.path for file in files)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for file in self._files:
            self._by_name[file.path.rpartition("/")[2]].append(file.path)

    def of(self, *languages: str) -> Iterator[CodeFile]:
        """The files in these languages."""
        return (file for file in self._files if file.language in languages)

    def ending(self, path: str) -> list[str]:
        """The files whose path is this one, or ends in it behind a "/"."""
        candidates = self._by_name.get(path.rpartition("/")[2], [])
        return [found for found in candidates if found == path or found.endswith("/" + path)]


def folder_of(path: str) -> str:
    """The folder of a file; empty for the top."""
    return path.rpartition("/")[0]


def ancestors(folder: str) -> Iterator[str]:
    """A folder and those above it, down to the top, which is empty."""
    while folder:
        yield folder
        folder = folder_of(folder)
    yield ""


def join(folder: str, relative: str) -> str | None:
    """A path relative to a folder, with "." and ".." worked out; None where it leaves the repository."""
    parts = folder.split("/") if folder else []
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def nearest(candidates: Iterable[str], importer: str) -> str | None:
    """The candidate that shares most folders with the importer; then the one nearest the top, then by path."""
    mine = importer.split("/")[:-1]

    def distance(path: str) -> tuple[int, int, str]:
        parts = path.split("/")
        shared = 0
        for a, b in zip(mine, parts, strict=False):
            if a != b:
                break
            shared += 1
        return -shared, len(parts), path

    found = list(candidates)
    return min(found, key=distance) if len(found) > 1 else next(iter(found), None)
