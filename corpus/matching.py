"""The files below a folder that match a glob, and the folders that may hold such files but cannot be looked into."""

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ANY_DEPTH = "**"


class Match(NamedTuple):
    """Something below the folder: a match that is no folder, or a folder that cannot be listed, and why."""

    location: Path
    relative: str  # the path below the folder, with "/" between names
    unlisted: str = ""


def matches(folder: Path, glob: str, mark: str) -> Iterator[Match]:
    """What matches, each once, in no particular order.

    Names that begin with a dot are left out, as in a shell. `**` matches folders at any depth, but follows no links.

    Args:
        folder: where to begin.
        glob: relative to it.
        mark: folders below that hold a folder of this name are left out with all that is in them.

    Raises:
        ValueError: `**` beside other characters.
    """
    parts = [part for part in glob.split("/") if part]
    if any(_ANY_DEPTH in part and part != _ANY_DEPTH for part in parts):
        raise ValueError("'**' beside other characters; it stands for folders of any depth and is between '/'")
    tests = [None if part == _ANY_DEPTH else re.compile(fnmatch.translate(part)) for part in parts]
    end = len(parts)
    # A folder, its path below the first, and the parts of the glob that names in it may match.
    waiting: list[tuple[Path, str, frozenset[int]]] = [(folder, "", _reached(tests, {0}))]
    while waiting:
        location, prefix, open_parts = waiting.pop()
        try:
            with os.scandir(location) as listing:
                entries = list(listing)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Match(location, prefix or "./", error.strerror or str(error))
            continue
        if prefix and any(entry.name == mark and _is_folder(entry) for entry in entries):
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_folder = _is_folder(entry)
            next_parts = set()
            for at in open_parts:
                test = tests[at]
                if test is None:
                    if is_folder and not entry.is_symlink():
                        next_parts.add(at)
                elif test.match(entry.name):
                    next_parts.add(at + 1)
            reached = _reached(tests, next_parts)
            relative = prefix + entry.name
            if is_folder:
                inside = reached - {end}
                if inside:
                    waiting.append((location / entry.name, f"{relative}/", inside))
            elif end in reached:
                yield Match(location / entry.name, relative)


def _reached(tests: list[re.Pattern[str] | None], parts: set[int]) -> frozenset[int]:
    """Parts of the glob and those behind them that are reached because `**` may match no folder at all."""
    reached = set(parts)
    for at in parts:
        while at < len(tests) and tests[at] is None:
            at += 1
            reached.add(at)
    return frozenset(reached)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or what must not be looked at
        return False
