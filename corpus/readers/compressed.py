"""Unpacking gzip, Zstandard, bzip2 and xz in small pieces, however much a damaged or hostile file would give.

Memory stays bounded by `CHUNK` and the window of the format; a `Budget` bounds what one file may expand to.
"""

import bz2
import lzma
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import zstandard

from castline.corpus.documents import Reason, UnreadableError

CHUNK = 1024 * 1024
FREE_BYTES = 64 * 1024 * 1024  # that any file may expand to
_ZSTD_FEED = 2048  # a block of 4 bytes may give 128 KiB: this many bytes give at most 64 MiB
_XZ_MEMORY = 256 * 1024 * 1024

_FORMS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
_PADDED = ("gzip", "xz")  # zero bytes may stand between streams, as the formats allow


@dataclass
class Budget:
    """What may still be unpacked out of one file on disk, whatever is nested inside it."""

    left: float

    def spend(self, size: int) -> None:
        """Note that `size` bytes were unpacked.

        Raises:
            UnreadableError: the file expands beyond every reasonable measure.
        """
        self.left -= size
        if self.left < 0:
            detail = "it expands to more than the source's max_expansion times its size; not read any further"
            raise UnreadableError(Reason.BOMB, detail)


def compression(name: str) -> str:
    """The compression that a file name ends in: gzip, zstd, bzip2 or xz; empty for none."""
    return _FORMS.get(PurePosixPath(name.lower()).suffix, "")


def inner_name(name: str) -> str:
    """A file name without the ending of its compression."""
    return name[: -len(PurePosixPath(name).suffix)] if compression(name) else name


def unpack(chunks: Iterable[bytes], form: str, budget: Budget) -> Generator[bytes, None, None]:
    """The content of compressed pieces, in pieces of at most about `CHUNK`; any number of streams or frames.

    Raises:
        UnreadableError: after the last piece that could be read.
    """
    current: _Decompressor | None = None
    offset = 0
    for chunk in chunks:
        offset += len(chunk)
        while chunk:
            if current is None:
                current = _start(form)
            try:
                for data in current.feed(chunk):
                    budget.spend(len(data))
                    yield data
            except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError) as error:
                begin = offset - len(chunk)
                raise UnreadableError(Reason.CORRUPT, f"not valid {form}: {error}", at=f"byte {begin}") from None
            chunk = b""
            if current.eof:
                chunk = current.unused_data
                if form in _PADDED:
                    chunk = chunk.lstrip(b"\0")
                current = None
    if current is not None or offset == 0:
        detail = f"the file ends inside a {form} stream; fetch it again"
        raise UnreadableError(Reason.TRUNCATED, detail, at=f"byte {offset}")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def feed(self, data: bytes) -> Iterator[bytes]: ...


def _start(form: str) -> _Decompressor:
    match form:
        case "gzip":
            return GzipMember()
        case "zstd":
            return _ZstdFrame()
        case "bzip2":
            return _Stream(bz2.BZ2Decompressor())
        case _:
            return _Stream(lzma.LZMADecompressor(memlimit=_XZ_MEMORY))


class GzipMember:
    """One gzip member; `eof` once it has ended and its checksum held, then `unused_data` is what follows."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """What was fed after the end."""
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` unpacks to, in pieces.

        Raises:
            zlib.error: it is not valid.
        """
        full = True
        while full or (data and not self.eof):
            out = self._inner.decompress(data, CHUNK)
            data = self._inner.unconsumed_tail
            full = len(out) == CHUNK
            if out:
                yield out


class _ZstdFrame:
    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self._rest = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + self._rest

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_FEED):
            if out := self._inner.decompress(data[at : at + _ZSTD_FEED]):
                yield out
            if self.eof:
                self._rest = data[at + _ZSTD_FEED :]
                return


class _Stream:
    def __init__(self, inner: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if out := self._inner.decompress(data, CHUNK):
                yield out
            data = b""
            if self.eof or self._inner.needs_input:
                return
