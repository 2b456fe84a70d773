"""Readers: what each format gives, and that everything unreadable is rejected with its reason and place."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.config import Source
from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.read import read_files
from castline.corpus.sources import SourceFile

LINES = [json.dumps({"text": f"line {number} " + "word " * 50}) for number in range(400)]


def read(path: Path, **source: Any) -> list[Document | Reject]:
    status = path.stat()
    file = SourceFile(path, path.name, status.st_size, status.st_mtime_ns)
    return list(read_files(Source(name="source", path=str(path), **source), (file,)))


def read_bytes(folder: Path, name: str, content: bytes, **source: Any) -> list[Document | Reject]:
    (folder / name).write_bytes(content)
    return read(folder / name, **source)


def only_document(records: list[Document | Reject]) -> Document:
    assert len(records) == 1
    assert isinstance(records[0], Document), records[0]
    return records[0]


def only_reject(records: list[Document | Reject]) -> Reject:
    assert len(records) == 1
    assert isinstance(records[0], Reject), records[0]
    return records[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("sixteen bits, 十六位".encode("utf-16"), "sixteen bits, 十六位"),
    ],
)
def test_text_files(tmp_path: Path, content: bytes, text: str) -> None:
    document = only_document(read_bytes(tmp_path, "a.txt", content))
    assert document.text == text
    assert (document.path, document.record, document.source) == ("a.txt", 0, "source")


@pytest.mark.parametrize(
    ("content", "reason", "where"),
    [
        (b"abc\0def", Reason.BINARY, "a.txt (byte 3)"),
        (b"caf\x8f\xe9 \x01 au lait", Reason.UNKNOWN_ENCODING, "a.txt (byte 3)"),
        (b" \n\t\n", Reason.EMPTY, "a.txt"),
        (b"", Reason.EMPTY, "a.txt"),
    ],
)
@pytest.mark.parametrize("kind", ["text", "code"])
def test_files_that_are_no_text(tmp_path: Path, content: bytes, reason: Reason, where: str, kind: str) -> None:
    reject = only_reject(read_bytes(tmp_path, "a.txt", content, kind=kind, format="txt" if kind == "text" else "code"))
    assert (reject.reason, reject.where) == (reason, where)
    assert not reject.reason.damaged


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("notes", "text", "auto"),
        ("ls.1", "text", "auto"),
        ("guide.rst", "text", "auto"),
        ("README.md", "code", "markdown"),
        ("tool.py", "code", "python"),
        ("Makefile", "code", "make"),
        ("kernel.cu", "code", "cuda"),
        ("tool.py", "text", Reason.NOT_PROSE),
        ("table.csv", "text", Reason.NOT_PROSE),
        ("table.csv", "code", Reason.UNKNOWN_LANGUAGE),
        ("notes.txt", "chat", Reason.UNKNOWN_FORMAT),
    ],
)
def test_auto_picks_the_reader_by_kind_and_name(tmp_path: Path, name: str, kind: str, expected: str) -> None:
    record = read_bytes(tmp_path, name, b"some text", kind=kind)[0]
    assert (record.language if isinstance(record, Document) else record.reason) == expected


def test_a_named_format_wins_over_the_name(tmp_path: Path) -> None:
    assert only_document(read_bytes(tmp_path, "tool.py", b"x = 1", format="txt")).text == "x = 1"
    assert only_document(read_bytes(tmp_path, "odd.xyz", b"x = 1", kind="code", format="code")).language == "unknown"


def test_html_gives_the_main_text(tmp_path: Path) -> None:
    page = """<html><head><meta charset="gbk"><title>t</title><script>var hidden = 1;</script></head><body>
      <nav><a href="/">Home</a><a href="/about">About us</a></nav>
      <main><h1>标题 &amp; title</h1><p>The first paragraph.</p><p>The second one.</p></main>
      <footer>Copyright</footer></body></html>"""
    text = only_document(read_bytes(tmp_path, "page.html", page.encode("gbk"))).text
    assert text.split("\n\n") == ["标题 & title", "The first paragraph.", "The second one."]
    assert only_reject(read_bytes(tmp_path, "empty.html", b"<html><body></body></html>")).reason == Reason.EMPTY
    assert only_reject(read_bytes(tmp_path, "image.html", b"\x89PNG\0")).reason == Reason.BINARY


def test_jsonl_lines_keep_their_numbers(tmp_path: Path) -> None:
    content = b'{"text": "one"}\n\n{"text": "three"}\r\n{"text": "four"}'
    records = read_bytes(tmp_path, "a.jsonl", content)
    assert [(r.record, r.text) for r in records if isinstance(r, Document)] == [(1, "one"), (3, "three"), (4, "four")]
    assert len({r.id for r in records if isinstance(r, Document)}) == 3


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"text": "cut', Reason.BROKEN_JSON, "Unterminated string"),
        (b'{"text": "\xff"}', Reason.BROKEN_JSON, "decode"),
        (b'{"text": "a\0b"}', Reason.BROKEN_JSON, "control character"),
        (b'{"text": "half \\ud83d"}', Reason.BAD_UNICODE, "character 5"),
        (b'{"body": "x", "url": "y"}', Reason.BAD_FIELD, "'text', but found: body, url; set the source's text_field"),
        (b'{"text": 7}', Reason.BAD_FIELD, "a string, but found a number"),
        (b'{"text": null}', Reason.BAD_FIELD, "a string, but found null"),
        (b'["text"]', Reason.BAD_FIELD, "an object, but found a list"),
        (b"[" * 100_000, Reason.BROKEN_JSON, "recursion"),
    ],
)
def test_broken_lines_are_rejected_and_the_rest_goes_on(
    tmp_path: Path, line: bytes, reason: Reason, detail: str
) -> None:
    first, broken, last = read_bytes(tmp_path, "a.jsonl", b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n')
    assert isinstance(first, Document)
    assert isinstance(last, Document)
    assert isinstance(broken, Reject)
    assert (broken.reason, broken.where) == (reason, "a.jsonl:2")
    assert detail in broken.detail
    assert broken.reason.damaged


def test_code_in_records_is_no_prose(tmp_path: Path) -> None:
    assert only_document(read_bytes(tmp_path, "a.jsonl", b'{"text": "x"}', kind="code")).language == "unknown"
    with_language = read_bytes(tmp_path, "a.jsonl", b'{"text": "x"}', kind="code", language="rust")
    assert only_document(with_language).language == "rust"


def test_another_field(tmp_path: Path) -> None:
    assert only_document(read_bytes(tmp_path, "a.jsonl", b'{"body": "x"}', text_field="body")).text == "x"


def compressed(name: str, content: bytes) -> bytes:
    return gzip.compress(content) if name.endswith(".gz") else zstandard.compress(content)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_compressed_files_with_several_members(tmp_path: Path, name: str) -> None:
    half = len(LINES) // 2
    content = b"".join(compressed(name, "\n".join(part).encode() + b"\n") for part in (LINES[:half], LINES[half:]))
    texts = [r.text for r in read_bytes(tmp_path, name, content) if isinstance(r, Document)]
    assert texts == [json.loads(line)["text"] for line in LINES]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_what_came_before_a_truncation_is_kept(tmp_path: Path, name: str) -> None:
    # incompressible lines, so that half of the file holds about half of the lines
    random = lzma.compress(b"seed") * 50
    lines = [json.dumps({"text": bytes((b * n) % 251 for b in random).hex()}) for n in range(1, 200)]
    whole = compressed(name, "\n".join(lines).encode())
    *documents, reject = read_bytes(tmp_path, name, whole[: len(whole) * 2 // 3])
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.where) == (Reason.TRUNCATED, f"{name} (byte {len(whole) * 2 // 3})")
    assert reject.reason.damaged
    assert 0 < len(documents) < len(lines)
    for document, line in zip(documents, lines, strict=False):
        assert isinstance(document, Document)
        assert document.text == json.loads(line)["text"]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
@pytest.mark.parametrize(("content", "reason"), [(b"not compressed at all", Reason.CORRUPT), (b"", Reason.TRUNCATED)])
def test_what_is_not_compressed(tmp_path: Path, name: str, content: bytes, reason: Reason) -> None:
    assert only_reject(read_bytes(tmp_path, name, content)).reason == reason


def test_gzip_padding_is_no_damage(tmp_path: Path) -> None:
    assert only_document(read_bytes(tmp_path, "a.txt.gz", gzip.compress(b"text") + b"\0" * 512)).text == "text"


@given(lines=st.lists(st.binary(max_size=30), max_size=20), name=st.sampled_from(["a.jsonl", "a.jsonl.zst"]))
def test_every_line_that_is_not_blank_is_one_record(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], name: str
) -> None:
    content = b"\n".join(lines)
    data = content if name == "a.jsonl" else zstandard.compress(content)
    records = read_bytes(tmp_path_factory.mktemp("lines"), name, data)
    assert len(records) == sum(not (not line or line.isspace()) for line in content.split(b"\n"))


def test_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", None, "three"], "other": [1, 2, 3]}), path)
    one, two, three = read(path)
    assert isinstance(one, Document)
    assert isinstance(three, Document)
    assert (one.text, three.text, three.record) == ("one", "three", 2)
    assert isinstance(two, Reject)
    assert (two.reason, two.where) == (Reason.BAD_FIELD, "a.parquet (row 1)")
    missing = only_reject(read(path, text_field="body"))
    assert "column 'body', but found: text, other" in missing.detail
    path.write_bytes(path.read_bytes()[:-20])
    assert only_reject(read(path)).reason == Reason.CORRUPT


def test_chat_becomes_chatml(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    document = only_document(read_bytes(tmp_path, "a.jsonl", json.dumps({"messages": turns}).encode(), kind="chat"))
    assert document.text == "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ("hello", Reason.BAD_FIELD),
        ([{"role": "user"}], Reason.BAD_FIELD),
        (["hello"], Reason.BAD_FIELD),
        ([{"role": "user", "content": "now <|im_end|> you"}], Reason.SPECIAL_TOKEN),
    ],
)
def test_chat_that_is_none(tmp_path: Path, messages: Any, reason: Reason) -> None:
    line = json.dumps({"messages": messages}).encode()
    assert only_reject(read_bytes(tmp_path, "a.jsonl", line, kind="chat")).reason == reason


def test_a_file_that_has_gone_is_a_reject(tmp_path: Path) -> None:
    file = SourceFile(tmp_path / "gone.txt", "gone.txt", 1, 0)
    reject = only_reject(list(read_files(Source(name="source", path="gone.txt"), (file,))))
    assert reject.reason == Reason.UNREADABLE
    assert reject.reason.damaged
