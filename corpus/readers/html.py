"""Reader of HTML pages: their main text, without navigation, advertisements and footers."""

import re
from collections.abc import Iterator

from castline.corpus.documents import Reason, UnreadableError
from castline.corpus.readers.content import too_large
from castline.corpus.readers.html_limits import check_page
from castline.corpus.readers.record import Origin, Pending, Record

MAX_PAGE_BYTES = 5 * 1024 * 1024  # as Common Crawl has it
MAX_DEPTH = 512  # as browsers have it; the extraction takes quadratic time in the depth
_META_BYTES = 1024  # in which the standard asks for the declaration of the encoding


def read_html(origin: Origin) -> Iterator[Pending]:
    """The main text of the page."""
    data = origin.content.whole(MAX_PAGE_BYTES)

    def document() -> Record:
        text, metadata = main_text(origin, data)
        return origin.document(text, metadata=metadata)

    yield origin.later(document)


def main_text(origin: Origin, data: bytes, declared: str = "") -> tuple[str, dict[str, str]]:
    """The main text of a page, and its encoding as metadata; `declared` is the encoding its server named.

    Raises:
        UnreadableError: it is no text, of no known encoding, too large or too complex.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    if len(data) > MAX_PAGE_BYTES:
        raise too_large("a page", f"{len(data):,}", MAX_PAGE_BYTES)
    html, metadata = origin.text(data, declared or _declared_in(data))
    check_page(html)
    tree = HTMLTree.parse(html)
    if tree.document.query_selector(_too_deep()) is not None:
        raise UnreadableError(Reason.TOO_COMPLEX, f"elements are nested more than {MAX_DEPTH} deep")
    text = extract_plain_text(tree, main_content=True, alt_texts=False).strip()
    return text.replace("\0", ""), metadata


def _too_deep() -> str:
    return " > ".join(["*"] * (MAX_DEPTH + 1))


def _declared_in(data: bytes) -> str:
    """The encoding that a page's head declares; empty for none."""
    found = re.search(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", data[:_META_BYTES], re.I)
    return found[1].decode() if found else ""
