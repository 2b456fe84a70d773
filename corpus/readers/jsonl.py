"""Reader of JSON lines: one document per line, in the source's text field.

In UTF-16 and UTF-32 a line feed is found in no single byte: such a file is read as UTF-8 as a whole, also where it is
large enough to be divided; then the first piece has all of it.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import closing

from castline.corpus.documents import Reason
from castline.corpus.readers.compressed import CHUNK
from castline.corpus.readers.content import too_large
from castline.corpus.readers.encodings import LONGEST_BEGINNING, MARK, is_wide, to_utf8, wide_json
from castline.corpus.readers.fields import document_of
from castline.corpus.readers.lines import Overlong, read_lines
from castline.corpus.readers.record import Origin, Pending, Record


def read_jsonl(origin: Origin) -> Iterator[Pending]:
    """A record for every line that is not blank; lines count from 1 in the whole file."""
    if origin.span and not _wide_encoding(origin, _beginning(origin)):
        yield from _records(origin, _lines_of_span(origin, *origin.span), origin.source.encoding)
    elif not origin.span or origin.span[0] == 0:
        yield from _all_records(origin)


def _all_records(origin: Origin) -> Iterator[Pending]:
    with closing(origin.content.chunks()) as chunks:
        first = next(chunks, b"")
        pieces = itertools.chain((first,), chunks)
        if wide := _wide_encoding(origin, first):
            yield from _records(origin, read_lines(to_utf8(pieces, wide), origin.content.max_record), "auto")
        else:
            yield from _records(origin, read_lines(pieces, origin.content.max_record), origin.source.encoding)


def _beginning(origin: Origin) -> bytes:
    with origin.content.open() as file:
        return file.read(LONGEST_BEGINNING)


def _wide_encoding(origin: Origin, beginning: bytes) -> str:
    """The encoding of a file in UTF-16 or UTF-32, as the recipe or its first bytes say; empty for others."""
    given = origin.source.encoding
    if given == "auto":
        return wide_json(beginning)
    return given if is_wide(given) else ""


def _records(origin: Origin, lines: Iterator[bytes | Overlong], encoding: str) -> Iterator[Pending]:
    for number, line in enumerate(lines, start=origin.first_line):
        if isinstance(line, Overlong):
            yield _overlong(origin, line, str(number))
        elif line and not line.isspace():
            yield _record(origin, line, number, encoding)


def _record(origin: Origin, line: bytes, number: int, encoding: str) -> Pending:
    def make() -> Record:
        try:
            record = json.loads(line if encoding == "auto" else line.decode(encoding).removeprefix(MARK))
        except (ValueError, RecursionError) as error:
            return origin.reject(Reason.BROKEN_JSON, at=str(number), detail=str(error))
        return document_of(origin, record, number, at=str(number))

    return make


def _overlong(origin: Origin, line: Overlong, at: str) -> Pending:
    error = too_large("a line", f"{line.size:,}", origin.content.max_record)
    return lambda: origin.unreadable(error, at)


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
