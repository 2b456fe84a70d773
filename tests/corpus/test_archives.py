"""Archives, whole and damaged: members are files, and everything is a document or a reject."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from castline.corpus.documents import Document, Reason, Reject

from .samples import PAGE, make_tar, make_zip, read_in_process, reasons
from .test_readers import only_reject, read_bytes

ARCHIVES = {
    "a.tar": make_tar,
    "a.zip": make_zip,
    "a.tgz": lambda members: make_tar(members, "w:gz"),
    "a.tar.bz2": lambda members: make_tar(members, "w:bz2"),
    "a.tar.xz": lambda members: make_tar(members, "w:xz"),
    "a.tar.zst": lambda members: zstandard.compress(make_tar(members)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_are_read_by_their_names(tmp_path: Path, name: str) -> None:
    inner = make_zip({"deep.txt": b"deep", "deeper.zip": make_zip({"deepest.txt": b"too deep"})})
    members = {
        "docs/a.txt": b"text\r\nlines",
        "docs/b.jsonl.gz": gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'),
        "../../etc/c.txt": b"way up",
        "etc/c.txt": b"the same place",
        "/root.txt": b"root",
        "c:\\windows\\d.txt": b"drive",
        ".hidden/e.txt": b"hidden",
        "docs/page.html": PAGE % 1,
        "more.zip": inner,
        "image.png": b"\x89PNG\0",
    }
    found = read_bytes(tmp_path, name, ARCHIVES[name](members))
    documents = {record.path: record for record in found if isinstance(record, Document)}
    assert {path.removeprefix(f"{name}/"): document.text for path, document in documents.items()} == {
        "docs/a.txt": "text\nlines",
        "docs/b.jsonl.gz": "two",
        "etc/c.txt": "way up",
        "2~/etc/c.txt": "the same place",
        "root.txt": "root",
        "windows/d.txt": "drive",
        "docs/page.html": "Title\n\nA paragraph of the page, number 1.",
        "more.zip/deep.txt": "deep",
    }
    assert documents[f"{name}/etc/c.txt"].metadata == {"member": "../../etc/c.txt"}
    assert documents[f"{name}/docs/a.txt"].metadata == {}
    assert {r.where: r.reason for r in found if isinstance(r, Reject)} == {
        f"{name}/more.zip/deeper.zip": Reason.NESTED,
        f"{name}/image.png (byte 4)": Reason.BINARY,
    }
    assert len({record.id for record in documents.values()} | {"one"}) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == [name], "nothing is unpacked"


def test_an_encrypted_member_and_the_next(tmp_path: Path) -> None:
    data = bytearray(make_zip({"a.txt": b"secret", "b.txt": b"open"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    reject, document = read_bytes(tmp_path, "a.zip", bytes(data))
    assert isinstance(document, Document)
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.where) == (Reason.ENCRYPTED, "a.zip/a.txt")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.zip", lambda lines: make_zip({"a.jsonl": lines})),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("a.jsonl.bz2", bz2.compress),
        ("a.jsonl.xz", lzma.compress),
        ("a.tar.gz", lambda lines: make_tar({"a.jsonl": lines}, "w:gz")),
        ("nested.zip", lambda lines: make_zip({f"{n}.zip": make_zip({"a.jsonl": lines[::4]}) for n in range(5)})),
    ],
)
def test_what_expands_without_measure_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr("castline.corpus.readers.read.FREE_BYTES", 1 << 20)
    lines = (b" " * 4095 + b"\n") * 1000
    content = make(lines)
    found = read_bytes(tmp_path, name, content, max_expansion=10)
    assert set(reasons(found)) == {Reason.BOMB}
    assert read_bytes(tmp_path, name, content, max_expansion=len(lines)) == [], "lines of blanks are no records"


def test_a_bomb_on_one_line_costs_no_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(b'{"text": "first"}\n')
        for _ in range(256):
            file.write(bytes(1 << 20))
    found, memory = read_in_process(tmp_path, "a.jsonl.gz", max_record_bytes=1 << 20, max_expansion=10)
    assert found == ["first", "bomb a.jsonl.gz"]
    assert memory < 48 << 20


def test_a_zip_directory_without_measure_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_zip({f"{n:04}.txt": b"text" for n in range(500)})
    size = int.from_bytes(data[-10:-6], "little")
    monkeypatch.setattr("castline.corpus.readers.archives._MAX_DIRECTORY", size - 1)
    reject = only_reject(read_bytes(tmp_path, "a.zip", data))
    assert reject.reason == Reason.TOO_LARGE
    assert f"{size:,} bytes" in reject.detail
    monkeypatch.setattr("castline.corpus.readers.archives._MAX_DIRECTORY", size)
    assert len(read_bytes(tmp_path, "a.zip", data)) == 500
