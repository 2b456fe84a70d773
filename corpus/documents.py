"""Documents and rejects: what readers make of files, and how both are stored.

`documents/*.jsonl.zst` holds everything that was read, one JSON object per line; `rejects/*.jsonl` holds
everything that could not be read, with the reason and the place.
"""

import hashlib
import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import orjson
import zstandard

from castline.errors import DataError
from castline.files import atomic_write, write_text


class Reason(StrEnum):
    """Why a record is not a document."""

    BINARY = "binary"
    UNKNOWN_ENCODING = "unknown_encoding"
    EMPTY = "empty"
    TOO_LARGE = "too_large"  # more than the source's max_record_bytes
    TOO_COMPLEX = "too_complex"  # HTML beyond every real page
    BOMB = "bomb"  # expands beyond the source's max_expansion
    NESTED = "nested"  # an archive in too many others
    ENCRYPTED = "encrypted"
    UNSUPPORTED = "unsupported"
    BROKEN_LINK = "broken_link"
    VENDORED = "vendored"  # code of others, kept beside one's own
    HTTP_STATUS = "http_status"
    NOT_TEXT = "not_text"  # by its media type
    NOT_PROSE = "not_prose"
    UNKNOWN_LANGUAGE = "unknown_language"
    UNKNOWN_FORMAT = "unknown_format"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    BROKEN_JSON = "broken_json"
    BAD_FIELD = "bad_field"
    BAD_UNICODE = "bad_unicode"
    SPECIAL_TOKEN = "special_token"

    @property
    def damaged(self) -> bool:
        """Whether such a record should have been a document: these count against `max_bad`."""
        return self in _DAMAGED


_DAMAGED = {
    Reason.UNREADABLE,
    Reason.TRUNCATED,
    Reason.CORRUPT,
    Reason.BROKEN_JSON,
    Reason.BAD_FIELD,
    Reason.BAD_UNICODE,
}


class UnreadableError(Exception):
    """A reader cannot go on with a file: it becomes a reject with this reason, place and detail."""

    def __init__(self, reason: Reason, detail: str, at: str = "") -> None:
        """`at` is the place in the file, such as "byte 17"; empty for the whole file."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.at = at


@dataclass(frozen=True)
class Document:
    """One text with its provenance; `record` is its number in the file (a line of jsonl counts from 1).

    `metadata` holds what the source says about the text, as far as it is known: `url`, `date` (UTC, as
    2024-01-31T12:00:00Z, so that later dates sort later), `licence`, `encoding` (where it is not UTF-8),
    `record_id` (the record's own).
    """

    id: str
    source: str
    kind: str
    language: str
    path: str
    record: int
    text: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """A record that could not be read: why, where (file, and line or byte if there is one), and details."""

    reason: Reason
    source: str
    where: str
    detail: str


def document_id(source: str, path: str, record: int) -> str:
    """32 hexadecimal digits that depend on where the document comes from, not on what it says."""
    return hashlib.blake2b(f"{source}\0{path}\0{record}".encode(), digest_size=16).hexdigest()


def write_documents(path: Path, documents: list[Document]) -> None:
    """Write documents as compressed JSON lines, atomically; the same documents give the same bytes."""
    lines = [orjson.dumps(vars(document), option=orjson.OPT_APPEND_NEWLINE) for document in documents]
    data = zstandard.ZstdCompressor(level=3).compress(b"".join(lines))
    with atomic_write(path) as file:
        file.write(data)


def read_documents(path: Path, rows: Collection[int] | None = None) -> Iterator[Document]:
    """The documents of one part, in order; those of some `rows` (a set, where there are many), if given.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            for row, line in enumerate(io.BufferedReader(stream)):
                if rows is None or row in rows:
                    yield Document(**orjson.loads(line))
    except (OSError, ValueError, TypeError, zstandard.ZstdError) as error:
        raise DataError(
            f"{path}: expected documents that castline wrote, but found: {error}; build the corpus again with --force"
        ) from error


def document_at(path: Path, row: int) -> Document:
    """One document of a part, by its number.

    Raises:
        DataError: the file is missing or damaged, or has fewer documents.
    """
    document = next(read_documents(path, (row,)), None)
    if document is None:
        raise DataError(f"{path}: expected more than {row} documents; build the corpus again with --force")
    return document


def write_rejects(path: Path, rejects: list[Reject]) -> None:
    """Write rejects as JSON lines, atomically."""
    write_text(path, "".join(json.dumps(vars(reject)) + "\n" for reject in rejects))


def read_rejects(path: Path) -> Iterator[Reject]:
    """The rejects of one part, in order."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            values = json.loads(line)
            yield Reject(Reason(values.pop("reason")), **values)
