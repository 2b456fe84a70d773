"""The run directory of a training run.

run.json           what decides the run: the resolved recipe, the corpus, the start; written first
metrics.jsonl      a header, then a line per step and per evaluation; no clock times, the same bytes every time
timing.jsonl       seconds per step, as they were
checkpoints/       step-NNNNNNNN/, the newest few (state.py)
checkpoint/        the finished model, a Hugging Face folder with its tokenizer and castline.json
loss.svg           the training and held-out loss
summary.json       written last: a directory with a summary is complete
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from castline import files
from castline.errors import DataError, RecipeError

# What may differ between a run and the recipe that finds it again: the data and the start are compared by content.
_NOT_COMPARED = {"recipe.train.data", "recipe.train.init", "corpus.path", "init.path", "castline_version"}


class RunDirectory:
    """The files of one run, under a lock while it trains."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.checkpoint = path / "checkpoint"
        self.metrics = path / "metrics.jsonl"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep two trainers out of one directory.

        Raises:
            DataError: another process is training here.
            DeviceError: the directory cannot be written.
        """
        busy = DataError(f"another castline is training in {self.path}; wait for it, or stop it")
        with files.locked(self.path / ".lock", busy):
            yield

    def check(self, identity: dict[str, Any], *, force: bool) -> None:
        """Make sure that a run of this identity may use the directory.

        Args:
            identity: what `run.json` holds: {"recipe": …, "corpus": …, "init": …, "environment": …}
            force: a run of another recipe may be discarded

        Raises:
            RecipeError: the directory holds another run (which fields differ), or other files.
        """
        path = self.path / "run.json"
        if self.path.exists() and not self.path.is_dir():
            raise RecipeError(f"expected a folder for the run at {self.path}, but found a file; choose another --out")
        if not path.is_file():
            others = sorted(entry.name for entry in self._entries() if not entry.name.startswith(".run.json."))
            if others:
                raise RecipeError(
                    f"expected an empty folder or a run of this recipe at {self.path}, but found other files "
                    f"({others[0]}); choose another --out"
                )
        elif not force:
            differing = _differing(files.read_json(path), identity)
            if differing:
                raise RecipeError(
                    f"{self.path} holds a run of another recipe; it differs in\n"
                    + "\n".join(f"  {line}" for line in differing)
                    + "\nchoose another --out, or replace it with --force"
                )

    def begin(self, identity: dict[str, Any], *, force: bool) -> dict[str, Any]:
        """Take the directory, after `check`: the identity as it was first written, or as it is now for a new run."""
        path = self.path / "run.json"
        for entry in self._entries():
            if entry.name.startswith(".") and entry.suffix in (".tmp", ".old"):
                _remove(entry)  # what an interrupted write has left
        if path.is_file() and not force:
            return dict(files.read_json(path))
        # run.json goes last, so that a directory cleared by half is still known as a run.
        for entry in sorted(self._entries(), key=lambda entry: entry == path):
            _remove(entry)
        files.write_json(path, identity)
        return identity

    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None while the run is not complete."""
        path = self.path / "summary.json"
        return files.read_json(path) if path.is_file() else None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the run as complete."""
        files.write_json(self.path / "summary.json", dict(summary))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        return [json.loads(line) for line in self.metrics.read_text().splitlines()]

    def metrics_size(self) -> int:
        """Bytes of `metrics.jsonl`, 0 where it is missing."""
        return self.metrics.stat().st_size if self.metrics.is_file() else 0

    def tokens_per_second(self, tokens_per_step: int) -> float | None:
        """The mean over all steps that were timed; None where `timing.jsonl` was thrown away."""
        path = self.path / "timing.jsonl"
        seconds = [json.loads(line)["seconds"] for line in path.read_text().splitlines()] if path.is_file() else []
        return tokens_per_step * len(seconds) / sum(seconds) if seconds else None

    def _entries(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return [entry for entry in self.path.iterdir() if entry.name != ".lock"]


class MetricsFile:
    """`metrics.jsonl` and `timing.jsonl`, open for appending.

    Every method raises DeviceError where the disk is full.
    """

    def __init__(self, directory: RunDirectory, size: int) -> None:
        """Go on after the first `size` bytes of the metrics; what came later is written again."""
        self._path = directory.path
        with self._full_disk():
            self._metrics = directory.metrics.open("ab", buffering=0)
            self._metrics.truncate(size)
            self._timing = (directory.path / "timing.jsonl").open("ab", buffering=0)

    def write(self, **values: Any) -> None:
        """Append a line to the metrics."""
        with self._full_disk():
            _append(self._metrics, values)

    def write_time(self, **values: Any) -> None:
        """Append a line to the timing."""
        with self._full_disk():
            _append(self._timing, values)

    def sync(self) -> int:
        """Bring the metrics to the disk; their size, for the checkpoint that is written next."""
        with self._full_disk():
            os.fsync(self._metrics.fileno())
        return os.fstat(self._metrics.fileno()).st_size

    def close(self) -> None:
        """Close both files."""
        self._metrics.close()
        self._timing.close()

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise files.os_error(error, self._path) from error


def _append(file: FileIO, values: dict[str, Any]) -> None:
    line = (json.dumps(values, allow_nan=False) + "\n").encode()
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _differing(found: Any, wanted: dict[str, Any]) -> list[str]:
    before, after = dict(_flat(found)), dict(_flat(wanted))
    keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    compared = [key for key in keys if key not in _NOT_COMPARED and not key.startswith("environment.")]
    return [f"{key.removeprefix('recipe.')}: {before.get(key)!r} there, {after.get(key)!r} here" for key in compared]


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, values
