"""Reader of JSON lines: one document per line, in the source's text field."""

import json
from collections.abc import Iterator
from contextlib import closing

from castline.corpus.documents import Reason
from castline.corpus.readers.compressed import CHUNK
from castline.corpus.readers.content import too_large
from castline.corpus.readers.fields import document_of
from castline.corpus.readers.lines import Overlong, read_lines
from castline.corpus.readers.record import Origin, Pending, Record


def read_jsonl(origin: Origin) -> Iterator[Pending]:
    """A record for every line that is not blank; lines count from 1 in the whole file."""
    lines = _lines_of_span(origin, *origin.span) if origin.span else _all_lines(origin)
    for number, line in enumerate(lines, start=origin.first_line):
        if isinstance(line, Overlong):
            yield _overlong(origin, line, str(number))
        elif line and not line.isspace():
            yield _record(origin, line, number)


def _record(origin: Origin, line: bytes, number: int) -> Pending:
    encoding = origin.source.encoding

    def make() -> Record:
        try:
            record = json.loads(line if encoding == "auto" else line.decode(encoding))
        except (ValueError, RecursionError) as error:
            return origin.reject(Reason.BROKEN_JSON, at=str(number), detail=str(error))
        return document_of(origin, record, number, at=str(number))

    return make


def _overlong(origin: Origin, line: Overlong, at: str) -> Pending:
    error = too_large("a line", f"{line.size:,}", origin.content.max_record)
    return lambda: origin.unreadable(error, at)


def _all_lines(origin: Origin) -> Iterator[bytes | Overlong]:
    with closing(origin.content.chunks()) as chunks:
        yield from read_lines(chunks, origin.content.max_record)


def _lines_of_span(origin: Origin, start: int, end: int) -> Iterator[bytes | Overlong]:
    """The lines that begin in `[start, end)`; the last one is read to its end."""
    with origin.content.open() as file:
        at = max(start - 1, 0)
        file.seek(at)
        lines = read_lines(iter(lambda: file.read(CHUNK), b""), origin.content.max_record)
        if start:  # the rest of a line that began before, or the line feed that ended it
            at += _size(next(lines, b"")) + 1
        for line in lines:
            if at >= end:
                return
            at += _size(line) + 1
            yield line


def _size(line: bytes | Overlong) -> int:
    return line.size if isinstance(line, Overlong) else len(line)
