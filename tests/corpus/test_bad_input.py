"""What a real folder may hold besides documents, all at once: every piece is counted, and the rest goes on."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from castline.corpus.build import build_corpus
from castline.corpus.documents import read_rejects
from castline.corpus.plan import plan_corpus
from castline.errors import DataError

from .conftest import CHINESE, configure, write_english
from .samples import PAGE, make_zip, response

REASONS = {
    "crawl.warc.gz": "corrupt",
    "large.html": "too_large",
    "deep.html": "too_complex",
    "bomb.zip/zeros.txt": "too_large",
    "mixed.txt": "unknown_encoding",
    "nul.jsonl:1": "broken_json",
    "nul.txt": "binary",
    "self": "broken_link",
    "wrong.parquet": "bad_field",
}


def test_everything_bad_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_english(folder)
    good = len(list(folder.iterdir()))
    pages = [gzip.compress(response(f"https://a.example/{n}", PAGE % n)) for n in range(5)]
    pages[2] = pages[2][:60] + bytes(40) + pages[2][100:]
    (folder / "crawl.warc.gz").write_bytes(b"".join(pages))
    (folder / "large.html").write_bytes(b"x" * (6 << 20))
    (folder / "deep.html").write_bytes(b"<div>" * 60_000)
    (folder / "bomb.zip").write_bytes(make_zip({"zeros.txt": bytes(80 << 20)}))
    (folder / "slip.zip").write_bytes(make_zip({"../../etc/a.txt": b"a way up that is none"}))
    (folder / "mixed.txt").write_bytes(CHINESE[0].encode("gb18030") + CHINESE[1].encode())
    (folder / "nul.jsonl").write_bytes(bytes(100) + b'\n{"text": "after the NUL bytes"}\n')
    (folder / "nul.txt").write_bytes(b"abc\0def")
    pq.write_table(pa.table({"body": ["x"] * 3}), folder / "wrong.parquet")
    (folder / "loop").symlink_to(".", target_is_directory=True)
    (folder / "self").symlink_to("self")
    config = configure([{"name": "all", "path": "in"}], tokenizer={"vocab_size": 640})
    with pytest.raises(DataError, match=r"found 3 of .*the first: crawl\.warc\.gz .*\n.*--max-bad"):
        build_corpus(config, tmp_path / "out", base=tmp_path)
    totals = build_corpus(config, tmp_path / "out", base=tmp_path, max_bad=0.5).manifest["totals"]
    rejects = [one for path in (tmp_path / "out" / "rejects").iterdir() for one in read_rejects(path)]
    assert {one.where.partition(" (")[0]: one.reason for one in rejects} == REASONS
    assert sum(totals["rejected"].values()) == len(rejects) == len(REASONS)
    assert totals["read"] == good + 4 + 1 + 1 + len(REASONS)
    assert totals["read"] == sum(sum(totals[name].values()) for name in ("kept", "dropped", "rejected"))


def test_the_plan_says_what_repositories_become(data: Path) -> None:
    source = {"name": "code", "path": "code", "kind": "code", "repository": "folder"}
    plan = plan_corpus(configure([source], repositories={"tokens": 1000}), base=data)
    assert plan.packed_documents is not None
    assert plan.packed_documents >= plan.sources[0].text_bytes // 3000
    assert plan_corpus(configure([source | {"repository": "none"}]), base=data).packed_documents is None
