"""What a build has finished so far, in a folder `OUT.partial` beside the package: the same command goes on from it.

    identity.json   what the work depends on: another command's work is never mixed in
    package/        the package, as far as it is built
    steps/          a JSON file for every finished step, with its result
    arrays/         what steps keep on their way: int4 matrices, activations at a layer's end

Every file appears whole or not at all, and a step's files before its result, so a build may be killed at any
moment. The folder goes when the package is in its place, and after an error: what is left is an interrupted build's.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter
from safetensors.numpy import load_file, save

from castline.compile.one_file import SUFFIX, write_one_file
from castline.compile.package import package_files
from castline.compile.store import Arrays
from castline.errors import CastlineError, CompileError, RecipeError
from castline.files import locked, read_json, replace_folder, write_bytes, write_json

T = TypeVar("T")

_IDENTITY = "identity.json"


class WorkFolder:
    """The folder; also a `store.Store`."""

    def __init__(self, out: Path) -> None:
        """`out` is where the package will be; nothing is written yet."""
        self._out = out
        self.folder = out.with_name(f"{out.name}.partial")
        self.package = self.folder / "package"
        self.resumed: list[str] = []
        """The steps that were found finished."""

    @contextlib.contextmanager
    def opened(self, identity: Mapping[str, Any], *, force: bool) -> Iterator[None]:
        """Work in the folder, alone.

        Args:
            identity: what the result depends on (JSON values)
            force: discard another command's work

        Raises:
            RecipeError: there is another command's work.
            CompileError: another process is at work here.
            KeyboardInterrupt: Ctrl-C, saying where the work is kept.
        """
        busy = CompileError(f"another castline is building {self._out}; wait for it, or stop it")
        with locked(self.folder / "lock", busy):
            self._claim(identity, force)
            try:
                self.package.mkdir(exist_ok=True)
                yield
            except CastlineError:
                self.discard()
                raise
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"what is finished is kept in {self.folder}; run the same command again to go on"
                ) from None
            self.discard()

    def step(self, name: str, kind: type[T], do: Callable[[], T]) -> T:
        """The result of a step: of the one that was finished before, or of `do`, which is then kept."""
        adapter = TypeAdapter(kind)
        path = self.folder / "steps" / f"{name}.json"
        if path.is_file():
            self.resumed.append(name)
            return adapter.validate_python(read_json(path))
        result = do()
        write_json(path, adapter.dump_python(result, mode="json"))
        return result

    def load(self, name: str) -> Arrays | None:
        """See `Store`."""
        path = self._arrays(name)
        return load_file(path) if path.is_file() else None

    def save(self, name: str, arrays: Arrays) -> None:
        """See `Store`."""
        write_bytes(self._arrays(name), save({key: np.asarray(value, order="C") for key, value in arrays.items()}))

    def finished(self) -> list[str]:
        """What there is from before, for people: the names of finished steps, and how many arrays."""
        steps = sorted(path.stem for path in (self.folder / "steps").glob("*.json"))
        kept = sum(path.is_file() for path in (self.folder / "arrays").rglob("*.safetensors"))
        return steps + ([f"{kept} groups of arrays"] if kept else [])

    def publish(self) -> None:
        """Put the package in its place, replacing what is there; as one file where the name ends in `.castline`."""
        if self._out.suffix == SUFFIX:
            write_one_file(self.package, package_files(self.package), self._out, lambda _: None)
        else:
            replace_folder(self.package, self._out)

    def sweep(self) -> None:
        """Delete what a build left that was killed after its package was in place."""
        if self.folder.is_dir() and not self.package.exists():
            self.discard()

    def discard(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _claim(self, identity: Mapping[str, Any], force: bool) -> None:
        path = self.folder / _IDENTITY
        before = read_json(path) if path.is_file() else None
        if before is not None and before != identity:
            if not force:
                raise RecipeError(
                    f"{self.folder} holds the unfinished work of another command; these differ: "
                    f"{'; '.join(differences(before, identity))}. Run that command again to finish it, choose "
                    "another --out, or discard it with --force"
                )
            before = None
        if before is None:
            for name in ("package", "steps", "arrays"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            write_json(path, identity)
        for leftover in self.folder.rglob(".*.tmp"):  # of writes that were cut off
            leftover.unlink(missing_ok=True)

    def _arrays(self, name: str) -> Path:
        return self.folder / "arrays" / f"{name}.safetensors"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the identities of two pieces of work, by name; values where they are short."""
    found = []
    for key in now:
        old, new = before.get(key), now[key]
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new)
        elif "sha256" in key:
            found.append(f"the {key.removesuffix('_sha256').replace('_', ' ')}")
        else:
            found.append(f"{key} (was {old!r}, now {new!r})")
    return found
