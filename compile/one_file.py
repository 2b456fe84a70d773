"""A package as one file, `NAME.castline`: a zip archive of stored members, which engines map without unpacking.

The manifest comes first, the other files follow by name; each one's data begins at a multiple of 4096 bytes (its header
is padded with an extra field), dates are 1980-01-01, nothing is compressed: the same package gives the same bytes, and
`unzip` takes it apart. What an archive may be is decided by its one reader, csrc/runtime/archive.cpp.
"""

import contextlib
import hashlib
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from castline import _C
from castline.errors import PackageError
from castline.files import atomic_write, os_error

SUFFIX = ".castline"

_MAGIC = b"PK\x03\x04"
_ALIGNMENT = 4096
_LOCAL_HEADER = 30
_ZIP64_FIELD = 20
_PADDING_FIELD = 0xD935  # the extra field that Android's zipalign pads with: <id> <size> <alignment> zeros
_PADDING_HEAD = 6
_PIECE = 1 << 22


class Member(NamedTuple):
    """Where a file of a package lies in the one file."""

    offset: int
    size: int
    crc32: int


def is_one_file(path: Path) -> bool:
    """Whether there is a file that begins as a package in one file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def members(path: Path) -> dict[str, Member]:
    """The files in a package that is one file, by their names.

    Raises:
        PackageError: it is no such archive, or damaged.
    """
    return {name: Member(*place) for name, *place in _C.archive_members(path)}


def read_member(path: Path, name: str) -> bytes:
    """A file of a package that is one file.

    Raises:
        PackageError: it is not in there, or not what its checksum says.
    """
    found = members(path).get(name)
    if found is None:
        raise PackageError(f"{path}: {name} is missing; copy the package again or compile it again")
    content = b"".join(_pieces(path, found))
    if zlib.crc32(content) != found.crc32:
        raise PackageError(f"{path}: {name} is not what its checksum says; the file was changed")
    return content


def sha256_member(path: Path, member: Member) -> str:
    """The SHA-256 of a member, read in pieces."""
    digest = hashlib.sha256()
    for piece in _pieces(path, member):
        digest.update(piece)
    return digest.hexdigest()


def write_one_file(folder: Path, names: list[str], out: Path, advance: Callable[[float], None]) -> None:
    """Write the files `names` of a folder as one file, in this order; it appears whole or not at all.

    Args:
        folder: where they are
        names: their relative paths
        out: the file
        advance: told the bytes written

    Raises:
        DeviceError: the disk is full, or `out` cannot be written.
    """
    with atomic_write(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            size = (folder / name).stat().st_size
            large = size * 1.05 > zipfile.ZIP64_LIMIT  # as the library decides
            entry = zipfile.ZipInfo(name)  # its date is 1980-01-01
            entry.create_system, entry.external_attr, entry.file_size = 3, 0o644 << 16, size
            entry.extra = _padding(file.tell() + _LOCAL_HEADER + len(name.encode()) + _ZIP64_FIELD * large)
            with archive.open(entry, "w", force_zip64=large) as member, (folder / name).open("rb") as source:
                while piece := source.read(_PIECE):
                    member.write(piece)
                    advance(len(piece))
            entry.extra = b""  # the directory needs none


def extract(path: Path, names: list[str], folder: Path, advance: Callable[[float], None]) -> None:
    """Write members as files of their names below a folder.

    Raises:
        PackageError: one is missing.
    """
    found = members(path)
    for name in names:
        if name not in found:
            raise PackageError(f"{path}: {name} is missing; copy the package again or compile it again")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            for piece in _pieces(path, found[name]):
                file.write(piece)
                advance(len(piece))


@contextlib.contextmanager
def as_folder(package: Path) -> Iterator[Path]:
    """A package as a folder: itself, or one file's content in a temporary folder while the block runs.

    ONNX Runtime and the readers of weights want files of their own.

    Raises:
        DeviceError: no room for them.
    """
    if not is_one_file(package):
        yield package
        return
    with tempfile.TemporaryDirectory(prefix=f"{package.stem}.") as folder:
        try:
            extract(package, list(members(package)), Path(folder), lambda _: None)
        except OSError as error:
            raise os_error(error, Path(folder)) from error
        yield Path(folder)


def _padding(data_offset: int) -> bytes:
    """The extra field behind which data, at `data_offset` without it, begins at a multiple of the alignment."""
    gap = -(data_offset + _PADDING_HEAD) % _ALIGNMENT
    return struct.pack("<HHH", _PADDING_FIELD, gap + 2, _ALIGNMENT) + bytes(gap)


def _pieces(path: Path, member: Member) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(member.offset)
        left = member.size
        while left > 0:
            piece = _read(file, min(left, _PIECE), path)
            left -= len(piece)
            yield piece


def _read(file: BinaryIO, size: int, path: Path) -> bytes:
    piece = file.read(size)
    if not piece:
        raise PackageError(f"{path}: the file ends before its directory says; it was cut while it was read")
    return piece
