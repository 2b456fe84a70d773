"""Large files, read by several processes that are killed: what they wrote of a file stays, and no byte differs."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from .conftest import STDLIB
from .samples import response
from .test_build import contents

# The limits are set where the workers see them too: they import this file.
PROGRAM = """
import json, sys
from pathlib import Path
from castline.corpus import measure, sources
from castline.corpus.config import Source
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace

sources.TASK_BYTES = 50_000
sources.PIECE_BYTES = 100_000
measure.PART_CHARACTERS = 20_000

if __name__ == "__main__":
    out, base, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    workspace = Workspace(out)
    described = [Source(**values) for values in json.loads((base / "sources.json").read_text())]
    with workspace.locked(), Workers(workers) as pool:
        results = measure.measure_sources(sources.make_tasks(described, base), [], workspace, pool)
    (out / "accounts.json").write_text(json.dumps([[r.files, r.size, r.rejected, r.damaged] for r in results]))
"""
SOURCES = [
    {"name": "lines", "path": "a.jsonl"},
    {"name": "stream", "path": "b.jsonl.zst"},
    {"name": "crawl", "path": "c.warc.gz"},
    {"name": "rows", "path": "d.parquet"},
    {"name": "archive", "path": "e.tar.gz", "kind": "code"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One large file of every kind, of real code and documentation, with a few damaged records."""
    folder = tmp_path_factory.mktemp("large")
    files = [path for path in sorted(STDLIB.glob("[a-d]*.py")) if path.stat().st_size > 500]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    lines = [json.dumps({"text": text, "url": path.name}) for path, text in zip(files, texts, strict=True)]
    lines[7] = lines[7][:100]
    lines[30] = json.dumps({"body": "no text"})
    data = "".join(f"{line}\n" for line in lines).encode()
    (folder / "a.jsonl").write_bytes(data)
    (folder / "b.jsonl.zst").write_bytes(zstandard.compress(data))
    pages = [
        gzip.compress(response(f"https://a.example/{n}", text.encode(), media_type="text/plain"))
        for n, text in enumerate(texts)
    ]
    pages[9] = pages[9][:200] + bytes(40) + pages[9][240:]
    (folder / "c.warc.gz").write_bytes(b"".join(pages))
    pq.write_table(pa.table({"text": texts}), folder / "d.parquet", row_group_size=10)
    with tarfile.open(folder / "e.tar.gz", "w:gz") as archive:
        for path in files:
            archive.add(path, path.name)
    (folder / "sources.json").write_text(json.dumps(SOURCES))
    (folder / "read.py").write_text(PROGRAM)
    return folder


def start(folder: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(folder / "read.py"), str(out), str(folder), str(workers)]
    return subprocess.Popen(command, start_new_session=True)


def read(folder: Path, out: Path, workers: int) -> Path:
    assert start(folder, out, workers).wait(timeout=300) == 0
    return out


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process gives that is never interrupted."""
    return read(folder, tmp_path_factory.mktemp("whole"), workers=1)


def test_every_file_is_divided_or_has_parts(whole: Path, folder: Path) -> None:
    steps = [json.loads(path.read_text())["result"] for path in sorted((whole / ".castline" / "read").iterdir())]
    tasks = Counter(step["source"] for step in steps)
    parts = Counter({step["source"]: 0 for step in steps})
    for step in steps:
        parts[step["source"]] += len(step["parts"])
    assert tasks["stream"] == tasks["archive"] == 1
    assert min(tasks["lines"], tasks["crawl"], tasks["rows"]) >= 3
    assert min(parts.values()) >= 15
    rejected = [(step["source"], step["rejected"]) for step in steps if step["rejected"]]
    damage = {"broken_json": 1, "bad_field": 1}
    assert sum((Counter(counts) for source, counts in rejected if source == "lines"), Counter()) == damage
    assert [(source, counts) for source, counts in rejected if source == "stream"] == [("stream", damage)]
    assert [(source, counts) for source, counts in rejected if source == "crawl"] == [("crawl", {"corrupt": 1})]
    read = sum(part["documents"] for step in steps for part in step["parts"])
    records = len((folder / "a.jsonl").read_bytes().splitlines())
    assert read + sum(sum(counts.values()) for _, counts in rejected) == 5 * records


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_no_byte(folder: Path, whole: Path, tmp_path: Path, workers: int) -> None:
    assert contents(read(folder, tmp_path, workers)) == contents(whole)


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), (2, 2), pytest.param(4, 8, marks=pytest.mark.slow)])
def test_killed_inside_a_file(folder: Path, whole: Path, tmp_path: Path, workers: int, kills: int) -> None:
    moments = random.Random(workers)
    total = len(list((whole / "documents").iterdir()))
    written: dict[Path, int] = {}
    inside = 0
    for kill in range(kills):
        process = start(folder, tmp_path, workers)
        goal = len(written) + moments.randrange(1, 2 * (total - len(written)) // (kills - kill + 1) + 1)
        while process.poll() is None and len(finished(tmp_path)) < goal:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)  # the workers too
        process.wait()
        now = finished(tmp_path)
        assert {path: now.get(path) for path in written} == written, "nothing is written twice"
        written = now
        inside += any((tmp_path / ".castline" / "parts").glob("*/*.json"))
    assert inside, "a kill came before a file was finished"
    assert len(written) < total
    read(folder, tmp_path, workers)
    assert {path: number for path, number in finished(tmp_path).items() if path in written} == written
    assert contents(tmp_path) == contents(whole)


def finished(out: Path) -> dict[Path, int]:
    """The documents of parts that are marked as finished, each with its inode, which another writing would change."""
    names = []
    for marker in markers(out):
        try:
            result = json.loads(marker.read_text())["result"]
        except FileNotFoundError:  # its task is finished
            continue
        names += [part["name"] for part in result.get("parts", [result.get("part")])]
    paths = [out / "documents" / f"{name}.jsonl.zst" for name in sorted(set(names))]
    return {path: path.stat().st_ino for path in paths}


def markers(out: Path) -> list[Path]:
    steps = out / ".castline"
    while True:
        try:
            return [*(steps / "parts").glob("*/*.json"), *(steps / "read").glob("*.json")]
        except FileNotFoundError:  # a task was finished, and its folder went while it was listed
            continue
