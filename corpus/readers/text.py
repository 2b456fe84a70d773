"""Readers of files that are one document each: plain text, markdown and code."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from castline.corpus.readers.compressed import inner_name
from castline.corpus.readers.languages import programming_language
from castline.corpus.readers.record import Origin, Pending, Record


def read_text(origin: Origin) -> Iterator[Pending]:
    """The whole file as it is."""
    data = origin.content.whole()
    yield origin.later(lambda: _document(origin, data, None))


def read_code(origin: Origin) -> Iterator[Pending]:
    """The whole file as it is; its name tells the programming language."""
    data = origin.content.whole()
    language = programming_language(PurePosixPath(inner_name(origin.path)).name)
    yield origin.later(lambda: _document(origin, data, language))


def _document(origin: Origin, data: bytes, language: str | None) -> Record:
    text, metadata = origin.text(data)
    return origin.document(text, language=language, metadata=metadata)
