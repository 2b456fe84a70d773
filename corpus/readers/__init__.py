"""Readers: each turns one file into documents and rejects, and loses nothing silently.

A reader is a generator over `Document | Reject`. `read_file` picks it by the source's `format`, or by the
file's name where that is `auto`; `.gz` and `.zst` are unpacked on the way, whatever is inside.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from castline.corpus.config import Source
from castline.corpus.documents import Document, Reason, Reject, UnreadableError
from castline.corpus.readers.jsonl import read_jsonl
from castline.corpus.readers.languages import file_language, programming_language
from castline.corpus.readers.parquet import read_parquet
from castline.corpus.readers.record import Origin
from castline.corpus.readers.text import read_code, read_html, read_text
from castline.corpus.rules.code import MARKUP_LANGUAGES
from castline.corpus.sources import SourceFile

Reader = Callable[[Origin], Iterator[Document | Reject]]

_READERS: dict[str, Reader] = {
    "txt": read_text,
    "md": read_text,
    "html": read_html,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "code": read_code,
}
_FORMATS = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_RECORD_FORMATS = ("jsonl", "parquet")


def read_file(source: Source, file: SourceFile) -> Iterator[Document | Reject]:
    """Every record of a file, as a document or as a reject; a damaged file gives what could be read of it."""
    origin = Origin(source, file)
    reader = source.format if source.format != "auto" else _choose(source.kind, file.path)
    if isinstance(reader, Reason):
        yield origin.reject(reader, detail=_WHY[reader])
        return
    try:
        yield from _READERS[reader](origin)
    except UnreadableError as error:
        yield origin.reject(error.reason, error.at, error.detail)
    except OSError as error:
        yield origin.reject(Reason.UNREADABLE, detail=error.strerror or str(error))


_WHY = {
    Reason.NOT_PROSE: "code or data among texts; add a source of kind 'code', or name its format",
    Reason.UNKNOWN_LANGUAGE: "no programming language has such names; name the source's format to take it",
    Reason.UNKNOWN_FORMAT: "chat is read from jsonl and parquet; convert the file, or name its format",
}


def _choose(kind: str, path: str) -> str | Reason:
    name = PurePosixPath(path.lower())
    if name.suffix in (".gz", ".zst"):
        name = name.with_suffix("")
    form = _FORMATS.get(name.suffix)
    if form in _RECORD_FORMATS:
        return form
    if kind == "chat":
        return Reason.UNKNOWN_FORMAT
    if kind == "code":
        return "code" if programming_language(name.name) else Reason.UNKNOWN_LANGUAGE
    if form:
        return form
    language = file_language(name.name)
    return "txt" if language is None or language in MARKUP_LANGUAGES else Reason.NOT_PROSE
