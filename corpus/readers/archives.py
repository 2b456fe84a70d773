"""Archives: the members of tar (plain or compressed) and zip files, read where they lie.

Nothing is extracted, so a member's name is only a name: it is reduced to a path below the archive's own, and
kept in the metadata where that changed it.
"""

import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import IO, Self

from castline.corpus.documents import Reason, UnreadableError
from castline.corpus.readers.compressed import Budget
from castline.corpus.readers.content import ChunkStream, PulledStream
from castline.corpus.readers.record import Origin

_MAX_EXTENDED_HEADER = 1 << 20  # a tar header with a long name or other attributes
_MAX_DIRECTORY = 64 << 20  # bytes of a zip's list of members, which is in memory while they are read
_EXTENDED = frozenset(
    (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
)
_ENCRYPTED = 0x1

Member = tuple[str, Callable[[], IO[bytes]]]  # its name, and how to open it


def read_archive(origin: Origin) -> Iterator[Origin]:
    """The members of an archive in its order, each to be read before the next.

    As in folders, names that begin with a dot are left out, and so are links.

    Raises:
        UnreadableError: the archive is truncated or corrupt, after the last member that could be read.
    """
    seen: dict[str, int] = {}
    members = _zip_members(origin) if origin.content.name.endswith(".zip") else _tar_members(origin)
    for name, opener in members:
        path = member_path(name)
        if not path:
            continue
        times = seen[path] = seen.get(path, 0) + 1
        unique = path if times == 1 else f"{times}~/{path}"  # several members may have one name
        stored = name.encode("utf-8", "backslashreplace").decode()
        yield replace(
            origin,
            path=f"{origin.path}/{unique}",
            content=replace(origin.content, name=path, open=opener),
            metadata=origin.metadata | ({"member": stored} if stored != path else {}),
        )


def member_path(name: str) -> str:
    """A member's name as a path without a root or a way up; empty for hidden and nameless ones."""
    name = re.sub(r"^[A-Za-z]:", "", name.encode("utf-8", "backslashreplace").decode().replace("\\", "/"))
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "" if any(part.startswith(".") for part in parts) else "/".join(parts)


def _tar_members(origin: Origin) -> Iterator[Member]:
    with closing(origin.content.chunks()) as chunks:
        stream = io.BufferedReader(ChunkStream(chunks))
        try:
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_CheckedHeader) as tar:
                while (member := tar.next()) is not None:
                    if member.isreg():
                        yield member.name, _tar_opener(tar, member)
                    tar.members.clear()  # type: ignore[attr-defined]  # of an archive with millions, memory would grow
        except _TAR_ERRORS as error:
            raise UnreadableError(Reason.CORRUPT, f"not a valid tar archive: {error}") from None


_TAR_ERRORS = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError)
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, LookupError)


class _CheckedHeader(tarfile.TarInfo):
    """A header that says when it is damaged, where the standard library takes that for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """A header of 512 bytes.

        Raises:
            UnreadableError: it is damaged, or asks for too much memory.
        """
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            raise UnreadableError(Reason.TRUNCATED, "the archive has no end; fetch it again") from None
        except tarfile.HeaderError as error:
            raise UnreadableError(Reason.CORRUPT, f"a damaged tar header: {error}") from None
        if header.size < 0 or (header.type in _EXTENDED and header.size > _MAX_EXTENDED_HEADER):
            raise UnreadableError(Reason.CORRUPT, f"a tar header of {header.size:,} bytes")
        return header


def _tar_opener(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def opener() -> IO[bytes]:
        if member.issparse():
            raise UnreadableError(Reason.UNSUPPORTED, "a sparse file; unpack the archive")
        inner = tar.extractfile(member)
        assert inner is not None  # a regular file
        return io.BufferedReader(_Checked(inner, None, _TAR_ERRORS))

    return opener


def _zip_members(origin: Origin) -> Iterator[Member]:
    try:
        with origin.content.seekable() as stream, zipfile.ZipFile(_AtATime(stream)) as archive:
            for member in archive.infolist():
                link = stat.S_ISLNK(member.external_attr >> 16)
                if not member.is_dir() and not link:
                    yield member.filename, _zip_opener(archive, member, origin.content.budget)
    except _ZIP_ERRORS as error:
        raise UnreadableError(Reason.CORRUPT, f"not a valid zip archive: {error}") from None


class _AtATime:
    """A stream of which at most `_MAX_DIRECTORY` bytes are read at a time: a zip archive's directory is one read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes.

        Raises:
            UnreadableError: that is too many.
        """
        if size > _MAX_DIRECTORY:
            detail = f"a zip directory of {size:,} bytes, but at most {_MAX_DIRECTORY:,} are read; unpack the archive"
            raise UnreadableError(Reason.TOO_LARGE, detail)
        return self._stream.read(size)


def _zip_opener(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> Callable[[], IO[bytes]]:
    def opener() -> IO[bytes]:
        if member.flag_bits & _ENCRYPTED:
            raise UnreadableError(Reason.ENCRYPTED, "unpack it with its password")
        try:
            inner = archive.open(member)
        except NotImplementedError as error:
            raise UnreadableError(Reason.UNSUPPORTED, f"{error}; unpack the archive") from None
        except _ZIP_ERRORS as error:
            raise UnreadableError(Reason.CORRUPT, f"not a valid member: {error}") from None
        return io.BufferedReader(_Checked(inner, budget, _ZIP_ERRORS))

    return opener


class _Checked(PulledStream):
    """A member's bytes from front to back, counted against the budget; damage is an `UnreadableError`."""

    def __init__(self, inner: IO[bytes], budget: Budget | None, errors: tuple[type[Exception], ...]) -> None:
        self._inner = inner
        self._budget = budget
        self._errors = errors

    def pull(self, size: int) -> bytes:
        try:
            data = self._inner.read(size)
        except self._errors as error:
            raise UnreadableError(Reason.CORRUPT, f"damaged in the archive: {error}") from None
        if self._budget:
            self._budget.spend(len(data))
        return data

    def close(self) -> None:
        self._inner.close()
        super().close()
