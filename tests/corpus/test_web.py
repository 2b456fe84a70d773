"""Web archives and web pages, whole and damaged: everything is a document or a reject."""

import email
import gzip
import io
import json
import logging
import pydoc
from pathlib import Path
from types import ModuleType

import pytest
import zstandard
from fastwarc.warc import ArchiveIterator
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.html_limits import check_page

from .samples import PAGE, reasons, record, response, texts
from .test_readers import only_document, only_reject, read_bytes


def _page(module: ModuleType) -> bytes:
    return pydoc.html.page(module.__name__, pydoc.html.docmodule(module)).encode()


PAGES = [_page(module) for module in (email, gzip, io, json, logging)]  # real ones


@pytest.fixture(scope="module")
def crawl() -> list[bytes]:
    """Records of a crawl: real pages, a WET text, and what is no page."""
    pages = [response(f"https://a.example/{number}", page) for number, page in enumerate(PAGES)]
    return [
        record("warcinfo", b"software: test\r\n", "", "application/warc-fields"),
        *pages,
        record("conversion", "Plain 文字.\n".encode(), "https://a.example/wet", "text/plain"),
        record("request", b"GET / HTTP/1.1\r\n\r\n", "https://a.example/", "application/http; msgtype=request"),
        response("https://a.example/gone", b"<p>gone</p>", "404 Not Found"),
        response("https://a.example/image", b"\x89PNG", media_type="image/png"),
        response("https://a.example/last", PAGE % 99),
    ]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "one-member.warc.gz", "a.warc.zst"])
def test_every_form_of_web_archive(tmp_path: Path, crawl: list[bytes], name: str) -> None:
    whole = b"".join(crawl)
    data = {"a.warc": whole, "one-member.warc.gz": gzip.compress(whole), "a.warc.zst": zstandard.compress(whole)}
    content = data.get(name, b"".join(map(gzip.compress, crawl)))
    found = read_bytes(tmp_path, name, content)
    assert len(list(ArchiveIterator(io.BytesIO(whole)))) == len(crawl), "fastwarc takes them for records too"
    documents = {document.metadata["url"]: document for document in found if isinstance(document, Document)}
    assert documents["https://a.example/wet"].text == "Plain 文字.\n"
    last = documents["https://a.example/last"]
    assert last.text == "Title\n\nA paragraph of the page, number 99."
    assert last.metadata["date"] == "2024-02-03T04:05:06Z"
    assert len(found) == len(crawl) - 2, "of the archive's own notes and requests nothing is read"
    rejected = reasons(found)
    assert (rejected.count(Reason.HTTP_STATUS), rejected.count(Reason.NOT_TEXT)) == (1, 1)
    for number, page in enumerate(PAGES):
        assert documents[f"https://a.example/{number}"].text == only_document(read_bytes(tmp_path, "a.html", page)).text


def test_a_record_is_found_at_its_number(tmp_path: Path) -> None:
    members = [gzip.compress(response(f"https://a.example/{number}", PAGE % number)) for number in range(3)]
    data = b"".join(members)
    for document in read_bytes(tmp_path, "a.warc.gz", data):
        assert isinstance(document, Document)
        one = next(iter(ArchiveIterator(io.BytesIO(data[document.record :]))))
        assert one.headers["WARC-Target-URI"] == document.metadata["url"]


@pytest.mark.parametrize("damage", [b"\x00" * 40, b"", bytes(range(40))])
def test_after_a_broken_member_the_next_one_goes_on(tmp_path: Path, damage: bytes) -> None:
    members = [gzip.compress(response(f"https://a.example/{number}", PAGE % number)) for number in range(5)]
    members[2] = members[2][:60] + damage + members[2][100:]
    found = read_bytes(tmp_path, "a.warc.gz", b"".join(members))
    numbers = [int(text.split("number ")[1][:-1]) for text in texts(found)]
    assert numbers == [0, 1, 3, 4]
    assert reasons(found) == [Reason.CORRUPT]
    assert [r.where for r in found if isinstance(r, Reject)] == [f"a.warc.gz (byte {len(members[0] + members[1])})"]


BOMBS = {
    "deep": "<div>" * 60_000,
    "deep in hidden ends": "<div><script></div></script><!--</div>-->" * 8_000,
    "open and never ended": "<span>" * 30_000 + "</x>" * 30_000,
    "opened again in every paragraph": "".join(f"<p><font size={n}>" for n in range(20_000)),
    "misnested": "<a><b></a>" * 30_000,
    "attributes": "<p " + " ".join(f"a{n}=1" for n in range(40_000)) + ">",
    "attributes with quotes": "<p " + " ".join(f"a{n}='<p>'" for n in range(40_000)) + ">",
    "attributes of the root": "".join(f"<html a{n}>" for n in range(40_000)),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_pages_that_would_keep_a_parser_busy(tmp_path: Path, content: str) -> None:
    assert only_reject(read_bytes(tmp_path, "a.html", content.encode())).reason == Reason.TOO_COMPLEX
    found = read_bytes(tmp_path, "a.warc", response("https://a.example/", content.encode()) + response("b", PAGE % 1))
    assert reasons(found) == [Reason.TOO_COMPLEX]
    assert len(texts(found)) == 1, "the next page goes on"


def test_pages_at_the_limits(tmp_path: Path) -> None:
    assert only_reject(read_bytes(tmp_path, "a.html", b"x" * (6 << 20))).reason == Reason.TOO_LARGE
    deep = only_reject(read_bytes(tmp_path, "a.html", b"<div>" * 600 + b"<p>text</p>"))
    assert deep.reason == Reason.TOO_COMPLEX
    assert only_document(read_bytes(tmp_path, "b.html", b"<div>" * 400 + b"<p>text</p>")).text == "text"


@given(
    st.lists(st.sampled_from(["<b>", "</b>", "<p>", "<p a='>'>", "<br>", "<i>", "</i>", "</p>", "x", "<li>", "<!--"]))
)
def test_what_is_ended_is_not_open(parts: list[str]) -> None:
    part = "".join(parts)
    check_page(f"<div>{part}--></b></b></i></i></div>" * 10)  # at most one more open per part


def test_ordinary_pages_pass() -> None:
    check_page("<div><ul><li><b>x</b></div><a name=x>" * 5_000)
    for page in PAGES:
        check_page(page.decode())


def test_a_record_whose_checksum_is_wrong_is_no_document(tmp_path: Path) -> None:
    members = [bytearray(gzip.compress(response(f"https://a.example/{n}", PAGE % n))) for n in range(3)]
    members[1][-8] ^= 1
    found = read_bytes(tmp_path, "a.warc.gz", b"".join(members))
    assert [record.metadata["url"][-1] for record in found if isinstance(record, Document)] == ["0", "2"]
    assert reasons(found) == [Reason.CORRUPT]


def test_records_that_share_a_member_have_numbers_of_their_own(tmp_path: Path) -> None:
    records = [response(f"https://a.example/{n}", PAGE % n) for n in range(6)]
    filler = records[0] + b" " * (len(gzip.compress(b"".join(records[:3]))) - len(records[0]))
    data = gzip.compress(b"".join(records[:3])) + gzip.compress(filler + b"".join(records[3:]))
    found = read_bytes(tmp_path, "a.warc.gz", data)
    documents = [record for record in found if isinstance(record, Document)]
    assert len({document.id for document in documents}) == len(documents) == 7
