"""Git repositories, with or without a working tree: the files of the last commit, read from the object store.

Runs the `git` command and nothing that a repository configures: no hooks, filters, fetches or helpers.
"""

import io
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from castline.corpus.documents import Reason, UnreadableError
from castline.corpus.readers.content import PulledStream
from castline.corpus.readers.metadata import date_text
from castline.errors import DataError, DeviceError

_REGULAR = (b"100644", b"100755", b"100664")
_SAFE = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never")
_PIECE = 1 << 20


@dataclass(frozen=True)
class GitFile:
    """A file as the last commit has it."""

    object: str  # the name of its content
    commit: str
    date: str  # of the commit


def is_repository(folder: Path) -> bool:
    """Whether a folder is a working tree or a bare repository."""
    return (folder / ".git").exists() or (
        (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()
    )


def tracked_files(repository: Path) -> list[tuple[str, int, GitFile]]:
    """Path, size and content of every regular file of the last commit, in git's order.

    Links and submodules are left out.

    Raises:
        DataError: the repository is damaged or has no commit.
        DeviceError: there is no git here.
    """
    commit, date = _run(repository, "log", "-1", "--format=%H%n%cI", "HEAD").decode().split()
    listing = _run(repository, "ls-tree", "-r", "-z", "--long", "--full-tree", commit)
    files = []
    for entry in listing.split(b"\0")[:-1]:
        description, _, path = entry.partition(b"\t")
        mode, _, name, size = description.split()
        if mode in _REGULAR:
            text = path.decode("utf-8", "backslashreplace")
            known = int(size) if size.isdigit() else 0  # of a damaged object it is not known
            files.append((text, known, GitFile(name.decode(), commit, date_text(date) or "")))
    return files


def _run(repository: Path, *arguments: str) -> bytes:
    command = _command(repository, *arguments)
    try:
        done = subprocess.run(command, env=_environment(), capture_output=True, check=False)
    except FileNotFoundError:
        raise DeviceError(f"{repository}: expected the command git to read this repository; install git") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise DataError(f"{repository}: expected a git repository with a commit, but git said: {said[0]}")
    return done.stdout


def _command(repository: Path, *arguments: str) -> list[str]:
    return ["git", *_SAFE, "-C", str(repository), *arguments]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


class GitObjects:
    """The contents of a repository's objects, out of one `git cat-file`; one is open at a time."""

    def __init__(self, repository: Path) -> None:
        """Starts the command, which ends with the `with` block."""
        self._command = _command(repository, "cat-file", "--batch")
        self._open: _Object | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def open(self, name: str) -> IO[bytes]:
        """The content of an object, to be read before the next one is opened.

        Raises:
            UnreadableError: the repository does not have it, or it is damaged.
        """
        if self._open:
            self._open.drain()
        self._open = None
        answer = self._ask(name)
        if not answer:  # a damaged object has ended the command: this one, or the last
            self._stop()
            self._start()
            answer = self._ask(name)
        if len(answer) != 3 or answer[1] != b"blob":
            raise UnreadableError(Reason.CORRUPT, f"git has no object {name}; repair the repository with git fsck")
        self._open = _Object(self._output, int(answer[2]))
        return io.BufferedReader(self._open)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is this process's to handle
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, name: str) -> list[bytes]:
        try:
            self._input.write(name.encode() + b"\n")
            self._input.flush()
            return self._output.readline().split()
        except BrokenPipeError:
            return []


class _Object(PulledStream):
    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size + 1  # git ends it with a line feed

    def pull(self, size: int) -> bytes:
        wanted = min(size, self._left - 1)
        data = self._stream.read(wanted) if wanted > 0 else b""
        if len(data) < wanted:
            raise UnreadableError(Reason.CORRUPT, "git could not read the object; repair the repository with git fsck")
        self._left -= len(data)
        return data

    def drain(self) -> None:
        while self._left > 0 and (data := self._stream.read(min(self._left, _PIECE))):
            self._left -= len(data)
