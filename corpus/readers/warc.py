"""Reader of web archives (WARC 1.0 and 1.1): the main text of every page, and plain text as it is.

In the usual compressed form every record is a gzip member of its own: a large file is divided at them, and after
a damaged member the next one goes on. A record's number is the byte at which its member (or, not compressed, the
record itself) begins, as in other tools' indexes.
"""

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO

from fastwarc.warc import ArchiveIterator, WarcRecord

from castline.corpus.documents import Reason, UnreadableError
from castline.corpus.readers.compressed import CHUNK, Budget, GzipMember, compression
from castline.corpus.readers.content import ChunkStream, too_large
from castline.corpus.readers.html import main_text
from castline.corpus.readers.metadata import date_text
from castline.corpus.readers.record import Origin, Pending, Record

_MAX_HEADER = 64 * 1024
_GZIP = b"\x1f\x8b\x08"
_STORED_BLOCK = 0xFFFF + 64  # bytes: the longest in a deflate stream, with the header of the next
_SECOND_IN_MEMBER = 1 << 40  # added to the number for every record before it in its member, which is unusual
_PEEK = 512  # compressed bytes that are enough to see how a member begins
_TEXTS = {"response", "resource", "conversion"}  # other types are about these
_HTML = ("text/html", "application/xhtml+xml")


def read_warc(origin: Origin) -> Iterator[Pending]:
    """A record for every page or text that was archived; requests and the archive's own notes are none."""
    if compression(origin.content.name) == "gzip":
        with origin.content.open() as file:
            if file.seekable():
                yield from _read_members(origin, file)
                return
    yield from _read_stream(origin, io.BufferedReader(ChunkStream(origin.content.chunks())), None)


def _read_members(origin: Origin, file: IO[bytes]) -> Iterator[Pending]:
    """The records of the members that begin in the span, and of those behind it that no other piece would find."""
    size = file.seek(0, io.SEEK_END)
    start, end = origin.span or (0, size)
    at = _first_member(file, start)
    while at < end or (at < size and not _begins_record_at(file, at)):
        member = _Member(file, at, origin.content.budget)
        held: Pending | None = None  # the last record, until its member's checksum was right
        try:
            for record in _read_stream(origin, io.BufferedReader(ChunkStream(member.chunks())), at):
                if held:
                    yield held
                held = record
            after = member.end()
        except UnreadableError as error:
            if held and error.reason != Reason.CORRUPT:
                yield held
            yield partial(origin.unreadable, error, f"byte {at}")
            after = _after(file, at)
        else:
            if held:
                yield held
        at = after


def _first_member(file: IO[bytes], start: int) -> int:
    """Where the first member at or behind `start` begins, as one finds it who reads the whole file.

    What looks like a member may be part of one: an archive inside a record, stored without compression. Stored
    data is in blocks of less than 64 KiB with a header each, so such a member, or what follows it, is soon damaged.
    Where there is damage, the file is gone through from its beginning.
    """
    size = file.seek(0, io.SEEK_END)
    at = _next_member(file, start) if start else 0
    if start == 0 or _is_whole(file, at, min(at + _STORED_BLOCK, size)):
        return at
    at = 0
    while at < size and (at < start or not _begins_record_at(file, at)):
        at = _after(file, at)
    return at


def _is_whole(file: IO[bytes], at: int, end: int) -> bool:
    """Whether from `at` to `end` member follows member."""
    try:
        while at < end:
            at = _Member(file, at, Budget(math.inf)).end()
    except UnreadableError:
        return False
    return True


def _after(file: IO[bytes], at: int) -> int:
    """Where the member behind this one begins; behind a damaged one, the next that holds a record."""
    try:
        return _Member(file, at, Budget(math.inf)).end()
    except UnreadableError:
        return _next_member(file, at + 1)


class _Member:
    """One gzip member in a file."""

    def __init__(self, file: IO[bytes], start: int, budget: Budget) -> None:
        self._file = file
        self._at = start
        self._budget = budget
        self._inner = GzipMember()

    def chunks(self) -> Iterator[bytes]:
        while not self._inner.eof:
            self._file.seek(self._at)
            data = self._file.read(CHUNK // 16)
            if not data:
                raise UnreadableError(Reason.TRUNCATED, "the file ends inside a gzip stream; fetch it again")
            self._at += len(data)
            try:
                for out in self._inner.feed(data):
                    self._budget.spend(len(out))
                    yield out
            except zlib.error as error:
                raise UnreadableError(Reason.CORRUPT, f"not valid gzip: {error}") from None

    def end(self) -> int:
        """Where the next member begins, or the file ends; reads what is left of this one."""
        for _ in self.chunks():
            pass
        at = self._at - len(self._inner.unused_data)
        self._file.seek(at)
        while (data := self._file.read(CHUNK)) and not data.strip(b"\0"):
            at += len(data)
        return at + len(data) - len(data.lstrip(b"\0"))


def _next_member(file: IO[bytes], start: int) -> int:
    """The first place from `start` on where a gzip member with a WARC record begins; else the file's end."""
    at = start
    while True:
        file.seek(at)
        data = file.read(CHUNK)
        found = data.find(_GZIP)
        while found >= 0:
            if _begins_record_at(file, at + found):
                return at + found
            found = data.find(_GZIP, found + 1)
        if len(data) < CHUNK:
            return at + len(data)
        at += len(data) - len(_GZIP) + 1


def _begins_record_at(file: IO[bytes], at: int) -> bool:
    file.seek(at)
    return _begins_record(file.read(_PEEK))


def _begins_record(data: bytes) -> bool:
    try:
        return zlib.decompressobj(wbits=31).decompress(data, 5) == b"WARC/"
    except zlib.error:
        return False


@dataclass
class _Raw:
    """A record's header, as far as framing needs it."""

    header: bytes
    type: str
    length: int


def _read_stream(origin: Origin, stream: io.BufferedReader, member: int | None) -> Iterator[Pending]:
    """The records of a stream; `member` is where it begins as a gzip member of its own.

    Raises:
        UnreadableError: the stream ends inside a record, or is damaged.
    """
    offset = index = 0
    lost = False
    while line := stream.readline(_MAX_HEADER):
        begin, offset = offset, offset + len(line)
        number = begin if member is None else member + index * _SECOND_IN_MEMBER
        at = f"byte {begin}" if member is None else f"byte {member}" + (f", record {index}" if index else "")
        if not line.startswith(b"WARC/"):
            if line.strip() and not lost:
                lost = True
                detail = f"expected a WARC record, but found {line[:40]!r}; the next record goes on"
                yield origin.rejected(Reason.CORRUPT, at, detail)
            continue
        index += 1
        raw, used = _read_header(line, stream)
        offset += used
        lost = raw is None
        if raw is None:
            yield origin.rejected(Reason.CORRUPT, at, "a WARC header without its type, length or end")
            continue
        if raw.length > origin.content.max_record:
            offset += _pass_over(stream, raw.length, at)
            if raw.type in _TEXTS:
                error = too_large("a record", f"{raw.length:,}", origin.content.max_record)
                yield partial(origin.unreadable, error, at)
            continue
        body = stream.read(raw.length)
        offset += len(body)
        if len(body) < raw.length:
            raise _ends_inside(at)
        if raw.type in _TEXTS:
            yield origin.later(partial(_page, origin, raw.header + body, number, at), at)
        elif raw.type == "continuation":
            yield origin.rejected(Reason.UNSUPPORTED, at, "a record in several segments")


def _ends_inside(at: str) -> UnreadableError:
    return UnreadableError(Reason.TRUNCATED, "the file ends inside a record; fetch it again", at)


def _read_header(first: bytes, stream: io.BufferedReader) -> tuple[_Raw | None, int]:
    """The header that begins with a line, and how many more bytes were read."""
    lines = [first]
    size = 0
    while size < _MAX_HEADER and (line := stream.readline(_MAX_HEADER)):
        size += len(line)
        lines.append(line)
        if not line.strip():
            fields = dict(line.lower().partition(b":")[::2] for line in lines[1:])
            length = fields.get(b"content-length", b"").strip()
            kind = fields.get(b"warc-type", b"").strip()
            if not length.isdigit() or len(length) > 18 or not kind:
                return None, size
            return _Raw(b"".join(lines), kind.decode("ascii", "replace"), int(length)), size
    return None, size


def _pass_over(stream: io.BufferedReader, size: int, at: str) -> int:
    passed = 0
    while passed < size and (data := stream.read(min(size - passed, CHUNK))):
        passed += len(data)
    if passed < size:
        raise _ends_inside(at)
    return passed


def _page(origin: Origin, raw: bytes, number: int, at: str) -> Record:
    try:
        record = next(iter(ArchiveIterator(io.BytesIO(raw), parse_http=True, auto_decode="all", stream_detect=False)))
        data = record.reader.read(origin.content.max_record + 1)
    except (OSError, ValueError, StopIteration) as error:
        return origin.reject(Reason.CORRUPT, at, f"not a valid record: {error}")
    if len(data) > origin.content.max_record:
        raise too_large("a page", f"more than {origin.content.max_record:,}", origin.content.max_record)
    if record.is_http and record.http_headers is not None and record.http_headers.status_code != 200:
        return origin.reject(Reason.HTTP_STATUS, at, f"the server answered {record.http_headers.status_code}")
    media_type = _media_type(record)
    if media_type in _HTML:
        text, metadata = main_text(origin, data, record.http_charset or "")
    elif media_type == "text/plain":
        text, metadata = origin.text(data, record.http_charset or "")
    else:
        return origin.reject(Reason.NOT_TEXT, at, f"of type {media_type or 'unknown'}")
    known = {"url": record.headers.get("WARC-Target-URI"), "date": date_text(record.headers.get("WARC-Date"))}
    return origin.document(text, number, at=at, metadata={k: v for k, v in known.items() if v} | metadata)


def _media_type(record: WarcRecord) -> str:
    value = record.http_content_type if record.is_http else record.headers.get("Content-Type")
    return (value or "").partition(";")[0].strip().lower()
