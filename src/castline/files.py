"""Writing files so that a half-written one never looks whole: temporary file, fsync, rename.

A folder is complete when its manifest is there, so stages write the manifest last.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from castline.errors import CastlineError, DataError, DeviceError


@contextlib.contextmanager
def atomic_path(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Make an empty temporary file beside `path`; on leaving without an error what was written to it becomes `path`.

    Without `sync` a power cut may leave an empty file behind, for readers that can do without what was in it.

    Raises:
        DeviceError: the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            yield temporary
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on leaving without an error it becomes `path`.

    `sync` and errors as in `atomic_path`.
    """
    with atomic_path(path, sync=sync) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path`; on leaving without an error it becomes `path` (`replace_folder`).

    Raises:
        DeviceError: the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
        temporary.chmod(0o755)
        yield temporary
        replace_folder(temporary, path)
        temporary = None
    except OSError as error:
        raise os_error(error, path) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(folder: Path, path: Path) -> None:
    """Rename a finished folder to `path`, on the same disk; what was there goes.

    Between two renames `path` is missing, never half-written.

    Raises:
        DeviceError: the folder cannot be written.
    """
    try:
        _sync_folder(folder)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            path.replace(old)
            folder.replace(path)
            shutil.rmtree(old)
        else:
            folder.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise os_error(error, path) from error


@contextlib.contextmanager
def locked(path: Path, busy: CastlineError) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; its folder is made if it is not there.

    Raises:
        CastlineError: `busy`, where another process has it.
        DeviceError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise os_error(error, path.parent) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        yield


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(path: Path, size: int, advice: str = "free some space") -> None:
    """Refuse to begin writing `size` bytes at `path` where the disk has less room.

    Raises:
        DeviceError: there is too little; `advice` says what to do.
    """
    free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free
    if free < size:
        raise DeviceError(
            f"expected {size / 1e6:,.0f} MB of free disk space for {path}, but found {free / 1e6:,.0f} MB; {advice}"
        )


def os_error(error: OSError, path: Path) -> Exception:
    """The castline error that says what the operating system refused, and what to do."""
    if is_disk_full(error):
        return DeviceError(f"no space left on the disk while writing {path}; free some space and run again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DeviceError(f"cannot write {path}: {error.strerror}; choose a folder you may write to")
    return DeviceError(f"cannot write {path}: {error.strerror or error}")


def is_disk_full(error: OSError) -> bool:
    """Whether the operating system refused to write for want of space (or quota, or file size)."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Write `value` as JSON atomically: indented, keys in the order given, the same bytes every time."""
    with atomic_write(path, sync=sync) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"expected the file {path}, but it does not exist") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"expected JSON in {path}, but found: {error}") from None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """The SHA-256 of a JSON value in canonical form: the identity of a recipe or manifest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
