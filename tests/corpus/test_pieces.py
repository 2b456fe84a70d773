"""Large files are read in pieces that hold every record once, in memory that does not grow with the file."""

import gzip
import json
import os
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from castline.corpus import sources
from castline.corpus.config import Source
from castline.corpus.documents import Document, Reject
from castline.corpus.line_numbers import number_lines
from castline.corpus.readers.read import read_files
from castline.corpus.sources import Task, make_tasks
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace

from .samples import PAGE, read_in_process, response, whole


@pytest.mark.parametrize("size", [50, 1000, 3333])
def test_pieces_of_a_web_archive_hold_every_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    records = [response(f"https://a.example/{n}", PAGE % n + b"x" * n) for n in range(20)]
    members = [gzip.compress(record) for record in records]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(members))
    assert in_pieces(tmp_path, "a.warc.gz", size, monkeypatch) == whole(tmp_path, "a.warc.gz")
    others = [gzip.compress(data) for data in (b"", b"no record", records[3][:250], records[4] + records[5])]
    mixed = [part for at, member in enumerate(members) for part in (member, others[at % 4])]
    mixed[11] = mixed[11][:30] + bytes(20) + mixed[11][50:]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(mixed)[:-9])
    assert in_pieces(tmp_path, "a.warc.gz", size, monkeypatch) == whole(tmp_path, "a.warc.gz")


@pytest.mark.parametrize("size", [60, 1000, 30_000])
def test_an_archive_inside_a_record_is_no_part_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    random = Random(0)
    filler = [random.randbytes(1000 * (size > 1000)).hex().encode() for _ in range(80)]
    inside = b"".join(gzip.compress(response(f"https://b.example/{n}", PAGE % n + filler[n])) for n in range(80))
    stored = gzip.compress(response("https://a.example/b.warc.gz", inside, media_type="application/gzip"), 0)
    assert inside[:60] in stored
    assert (inside in stored) == (size <= 1000), "a large one is in several blocks"
    pages = [gzip.compress(response(f"https://a.example/{n}", PAGE % n)) for n in range(4)]
    (tmp_path / "a.warc.gz").write_bytes(pages[0] + stored + pages[1] + pages[2][:-30] + stored + pages[3])
    found = whole(tmp_path, "a.warc.gz")
    assert [r.metadata["url"] for r in found if isinstance(r, Document)] == [
        f"https://a.example/{n}" for n in (0, 1, 3)
    ]
    assert in_pieces(tmp_path, "a.warc.gz", size, monkeypatch) == found


def in_pieces(folder: Path, name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> list[Document | Reject]:
    monkeypatch.setattr(sources, "PIECE_BYTES", size)
    tasks = make_tasks((Source(name="s", path=name),), folder)
    assert len(tasks) == -(-(folder / name).stat().st_size // size)
    assert sum(task.file_count for task in tasks) == 1
    return [record for task in numbered(tasks, folder) for record in read_task(task)]


def numbered(tasks: list[Task], folder: Path) -> list[Task]:
    with Workers(1) as workers:
        return number_lines(tasks, tasks, Workspace(folder / ".out"), workers)


def read_task(task: Task) -> list[Document | Reject]:
    return list(read_files(task.source, task.files))


@pytest.mark.parametrize("size", [37, 500, 4096])
def test_pieces_of_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    lines = [json.dumps({"text": f"line {n} " + "x" * (n * 7 % 90)}) for n in range(60)]
    for at in (0, 7, 8, 33):
        lines[at] = ""
    for ending in ("\n", "", "\r\n"):
        (tmp_path / "a.jsonl").write_bytes(("\n".join(lines) + ending).encode())
        assert in_pieces(tmp_path, "a.jsonl", size, monkeypatch) == whole(tmp_path, "a.jsonl")


def test_two_sources_may_read_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(20)))
    monkeypatch.setattr(sources, "PIECE_BYTES", 100)
    tasks = make_tasks((Source(name="one", path="a.jsonl"), Source(name="two", path="a.jsonl")), tmp_path)
    for name in ("one", "two"):
        found = [record for task in numbered(tasks, tmp_path) if task.source.name == name for record in read_task(task)]
        assert [record.record for record in found if isinstance(record, Document)] == list(range(1, 21))


def test_pieces_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.table({"text": [f"row {n} " + "x" * 50 for n in range(100)], "id": list(range(100))})
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=7)
    for size in (100, 1000, 3000):
        assert in_pieces(tmp_path, "a.parquet", size, monkeypatch) == whole(tmp_path, "a.parquet")


def test_a_line_without_end_costs_no_memory(tmp_path: Path) -> None:
    write_long_line(tmp_path / "a.jsonl", 128 << 20)
    found, memory = read_in_process(tmp_path, "a.jsonl", max_record_bytes=1 << 20)
    assert found == ["first", "too_large a.jsonl:2", "last"]
    assert memory < 16 << 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.html"])
def test_a_gigabyte_on_one_line(tmp_path: Path, name: str) -> None:
    write_long_line(tmp_path / name, 1 << 30)
    found, memory = read_in_process(tmp_path, name)
    assert found == (["first", "too_large a.jsonl:2", "last"] if name == "a.jsonl" else [f"too_large {name}"])
    assert memory < 160 << 20, "a record of max_record_bytes, twice where its pieces are joined, and little more"


def write_long_line(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(b'{"text": "first"}\n')
        file.seek(size, os.SEEK_CUR)  # a hole: NUL bytes
        file.write(b'\n{"text": "last"}\n')
