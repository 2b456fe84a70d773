"""What lets a build resume: `.castline/` in the corpus directory, with a marker for every finished step.

A marker holds the key of the step (a hash of everything its output depends on), its result and the files it
wrote. A step whose marker has the same key, and whose files are there, is not done again. Nothing in here
belongs to the corpus: it may hold times, and may be deleted from a finished corpus.
"""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from castline.corpus.sources import WORKSPACE
from castline.errors import DataError
from castline.files import locked, read_json, sha256_json, write_json


class Workspace:
    """The markers of a corpus directory; `resumed` counts the steps not done again, by stage."""

    def __init__(self, out: Path) -> None:
        """`out` is the corpus directory; it is made when the first marker is written."""
        self.out = out
        self.folder = out / WORKSPACE
        self.resumed: Counter[str] = Counter()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep two builds from writing to the same directory at once, and clear what a killed one left.

        Raises:
            DataError: another process is building here.
            DeviceError: the directory cannot be written.
        """
        busy = DataError(f"another castline is building {self.out}; wait for it, or stop it")
        with locked(self.folder / "lock", busy):
            for leftover in self.out.rglob(".*.tmp"):  # of writes that were cut off
                leftover.unlink(missing_ok=True)
            yield

    def load(self, step: str, key: Any) -> Any:
        """The result of a step that was finished with this key and whose files are there, else None."""
        marker = self._finished(step, key)
        if marker is None:
            return None
        self.resumed[step.partition("/")[0]] += 1
        return marker["result"]

    def is_done(self, step: str, key: Any) -> bool:
        """Whether a step was finished with this key and its files are there."""
        return self._finished(step, key) is not None

    def _finished(self, step: str, key: Any) -> Any:
        path = self._marker(step)
        try:
            marker = read_json(path) if path.is_file() else None
        except DataError:  # a power cut left it empty
            return None
        if marker is None or marker["key"] != sha256_json(key):
            return None
        return marker if all(_size(self.out / name) == size for name, size in marker["files"].items()) else None

    def save(self, step: str, key: Any, result: Any, files: Iterable[Path]) -> None:
        """Note that a step is finished: its result (JSON values), and the files it wrote under `out`."""
        sizes = {path.relative_to(self.out).as_posix(): _size(path) for path in files}
        write_json(self._marker(step), {"key": sha256_json(key), "files": sizes, "result": result}, sync=False)

    def forget(self, steps: str) -> None:
        """Delete the markers of all steps whose names begin with `steps` and a slash."""
        shutil.rmtree(self.folder / steps, ignore_errors=True)

    def keep_only(self, folder: str, names: Iterable[str]) -> None:
        """Delete what else `folder` holds: leftovers of another recipe, or of an interrupted write."""
        wanted = set(names)
        for path in sorted((self.out / folder).glob("*")):
            if path.name not in wanted:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _marker(self, step: str) -> Path:
        return self.folder / f"{step}.json"


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
