"""Readers of files that are one document each: plain text, markdown, HTML (its main text) and code."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from castline.corpus.documents import Document, Reject
from castline.corpus.readers.compressed import read_whole
from castline.corpus.readers.languages import programming_language
from castline.corpus.readers.record import Origin, check_text, decode


def read_text(origin: Origin) -> Iterator[Document | Reject]:
    """The whole file as it is."""
    yield origin.document(decode(read_whole(origin.file.location)))


def read_code(origin: Origin) -> Iterator[Document | Reject]:
    """The whole file as it is; its name tells the programming language."""
    name = PurePosixPath(origin.file.path).name.removesuffix(".gz").removesuffix(".zst")
    text = decode(read_whole(origin.file.location))
    yield origin.document(text, language=programming_language(name))


def read_html(origin: Origin) -> Iterator[Document | Reject]:
    """The main text of a page, without navigation, advertisements and footers."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    data = read_whole(origin.file.location)
    check_text(data)
    html = bytes_to_str(data, detect_encoding(data, from_html_meta=True))
    yield origin.document(extract_plain_text(html, main_content=True, alt_texts=False).strip())
