"""Bytes with a name, wherever they are: a file, a member of an archive, an object of a git repository."""

import io
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

from castline.corpus.documents import Reason, UnreadableError
from castline.corpus.readers.compressed import CHUNK, Budget, compression, unpack


@dataclass(frozen=True)
class Content:
    """What a reader reads. Compressed content is unpacked on the way.

    A member of an archive can be read once, and only while the archive stands at it.
    """

    name: str  # its ending says how it is compressed
    open: Callable[[], IO[bytes]]
    budget: Budget
    max_record: int  # bytes that may be in memory for one record

    def raw_chunks(self) -> Generator[bytes, None, None]:
        """The bytes as they are stored, in pieces."""
        with self.open() as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def chunks(self) -> Generator[bytes, None, None]:
        """The unpacked bytes, in pieces.

        Raises:
            UnreadableError: after the last piece that could be read.
        """
        form = compression(self.name)
        return unpack(self.raw_chunks(), form, self.budget) if form else self.raw_chunks()

    def whole(self, limit: int | None = None) -> bytes:
        """All of the unpacked bytes, at most `limit` (and the source's `max_record_bytes`).

        Raises:
            UnreadableError: there are more, or they are truncated or corrupt.
        """
        limit = self.max_record if limit is None else min(limit, self.max_record)
        with closing(self.chunks()) as chunks:
            return _joined(chunks, limit)

    def whole_if(self, wanted: Callable[[bytes], bool]) -> bytes | None:
        """All of the unpacked bytes if their first piece (all of them, in a small file) is wanted; else None.

        Raises:
            UnreadableError: as `whole` does.
        """
        with closing(self.chunks()) as chunks:
            first = next(chunks, b"")
            return _joined(itertools.chain((first,), chunks), self.max_record) if wanted(first) else None

    def seekable(self) -> IO[bytes]:
        """An open stream that can be read at any place; what cannot, is taken into memory.

        Raises:
            UnreadableError: it is too large for that, truncated or corrupt.
        """
        if not compression(self.name):
            stream = self.open()
            if stream.seekable():
                return stream
            stream.close()
        return io.BytesIO(self.whole())


def _joined(chunks: Iterable[bytes], limit: int) -> bytes:
    pieces = []
    size = 0
    for piece in chunks:
        size += len(piece)
        if size > limit:
            raise too_large("a file", f"more than {limit:,}", limit)
        pieces.append(piece)
    return b"".join(pieces)


def too_large(what: str, size: str, limit: int) -> UnreadableError:
    """The error of a record that would take too much memory."""
    return UnreadableError(Reason.TOO_LARGE, f"{what} of {size} bytes, but at most {limit:,} are read as one record")


class PulledStream(io.RawIOBase):
    """A stream that is read from front to back: `pull` gives at most so many bytes, and none at the end."""

    def pull(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        raise NotImplementedError

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as one pull goes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.pull(len(view))
        view[: len(data)] = data
        return len(data)


class ChunkStream(PulledStream):
    """Pieces as a stream; the error that ends them is raised again by everyone who reads on."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """`chunks` is read as far as the stream is, and no further."""
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._error: UnreadableError | None = None

    def pull(self, size: int) -> bytes:
        """What is left of the current piece, or of the next one."""
        if self._error:
            raise self._error
        if not self._rest:
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except UnreadableError as error:
                self._error = error
                raise
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)
