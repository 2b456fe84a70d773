"""Lines of any length out of pieces, in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Overlong:
    """A line that was not kept: `size` is its bytes without the line feed."""

    size: int


def read_lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | Overlong]:
    """The lines without their line feed; also the last one, when no line feed ends it.

    Lines of more than `limit` bytes are passed over piece by piece, and only their size is given.
    """
    begun: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        size += len(first)
        if size > limit:
            begun = []
        elif first:
            begun.append(first)
        if rest:
            yield b"".join(begun) if size <= limit else Overlong(size)
            for line in rest[:-1]:
                yield line if len(line) <= limit else Overlong(len(line))
            size = len(rest[-1])
            begun = [rest[-1]] if size <= limit else []
    if size:
        yield b"".join(begun) if size <= limit else Overlong(size)
