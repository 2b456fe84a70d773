"""Readers of files that are one document each: plain text, markdown and code."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from castline.corpus.documents import Reason
from castline.corpus.readers.compressed import inner_name
from castline.corpus.readers.formats import WHY
from castline.corpus.readers.languages import interpreter, programming_language
from castline.corpus.readers.record import Origin, Pending, Record

_FIRST_LINE = 256  # bytes: as far as Linux reads it


def read_text(origin: Origin) -> Iterator[Pending]:
    """The whole file as it is."""
    data = origin.content.whole()
    yield origin.later(lambda: _document(origin, data, None))


def read_code(origin: Origin) -> Iterator[Pending]:
    """The whole file as it is; its name tells the programming language."""
    data = origin.content.whole()
    language = programming_language(PurePosixPath(inner_name(origin.path)).name)
    yield origin.later(lambda: _document(origin, data, language))


def read_script(origin: Origin) -> Iterator[Pending]:
    """The whole file, if it begins as a script in a known language does; of others only the beginning is read."""
    data = origin.content.whole_if(lambda beginning: interpreter(_first_line(beginning)) is not None)
    if data is None:
        yield origin.rejected(Reason.UNKNOWN_LANGUAGE, detail=WHY[Reason.UNKNOWN_LANGUAGE])
        return
    language = interpreter(_first_line(data))
    yield origin.later(lambda: _document(origin, data, language))


def _first_line(data: bytes) -> str:
    return data[:_FIRST_LINE].partition(b"\n")[0].decode("utf-8", "replace")


def _document(origin: Origin, data: bytes, language: str | None) -> Record:
    text, metadata = origin.text(data)
    return origin.document(text, language=language, metadata=metadata)
