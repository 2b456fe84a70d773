"""Reading plain, gzip and Zstandard files in pieces, and noticing where a damaged one breaks off."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import zstandard

from castline.corpus.documents import Reason, UnreadableError

CHUNK = 1024 * 1024


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def read_chunks(path: Path) -> Iterator[bytes]:
    """The content of a file in pieces; `.gz` and `.zst` are unpacked, with any number of members or frames.

    Raises:
        UnreadableError: after the last piece that could be read.
    """
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(CHUNK), b"")
        match path.suffix.lower():
            case ".gz":
                yield from _decompress(chunks, "gzip")
            case ".zst":
                yield from _decompress(chunks, "zstd")
            case _:
                yield from chunks


def read_whole(path: Path) -> bytes:
    """The whole content of a file.

    Raises:
        UnreadableError: it is truncated or corrupt.
    """
    return b"".join(read_chunks(path))


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file without their line feed; also the last one, when no line feed ends it.

    Raises:
        UnreadableError: after the last whole line that could be read.
    """
    begun: list[bytes] = []
    for chunk in read_chunks(path):
        first, *rest = chunk.split(b"\n")
        begun.append(first)
        if rest:
            yield b"".join(begun)
            yield from rest[:-1]
            begun = [rest[-1]]
    if last := b"".join(begun):
        yield last


def _start(form: str) -> _Decompressor:
    return zlib.decompressobj(wbits=31) if form == "gzip" else zstandard.ZstdDecompressor().decompressobj()


def _decompress(chunks: Iterator[bytes], form: str) -> Iterator[bytes]:
    current: _Decompressor | None = None
    offset = 0
    for chunk in chunks:
        offset += len(chunk)
        while chunk:
            if current is None:
                current = _start(form)
            try:
                data = current.decompress(chunk)
            except (zlib.error, zstandard.ZstdError) as error:
                begin = offset - len(chunk)
                raise UnreadableError(Reason.CORRUPT, f"not valid {form}: {error}", at=f"byte {begin}") from None
            if data:
                yield data
            chunk = b""
            if current.eof:
                chunk = current.unused_data
                if form == "gzip":
                    chunk = chunk.lstrip(b"\0")  # padding between members, as gzip itself allows
                current = None
    if current is not None or offset == 0:
        detail = f"the file ends inside a {form} stream; fetch it again"
        raise UnreadableError(Reason.TRUNCATED, detail, at=f"byte {offset}")
