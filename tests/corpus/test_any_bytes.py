"""Any bytes, in any format that is read: records, and never an error."""

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castline.corpus.documents import Document, Reject

from .samples import PAGE, make_parquet, make_tar, make_zip, response
from .test_readers import read_bytes


@given(data=st.binary(max_size=300), cut=st.integers(0, 400), at=st.integers(0, 500))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@pytest.mark.parametrize(
    "name", ["a.warc", "a.warc.gz", "a.tar", "a.tgz", "a.zip", "a.html", "a.parquet", "a.jsonl.zst", "a.txt"]
)
def test_any_bytes_give_records_and_no_error(tmp_path: Path, name: str, data: bytes, cut: int, at: int) -> None:
    members = {"docs/a.txt": b"some text", "../b.jsonl": b'{"text": "x"}'}
    good = {
        "a.warc": response("https://a.example/", PAGE % 1),
        "a.warc.gz": gzip.compress(response("https://a.example/", PAGE % 1)),
        "a.tar": make_tar(members),
        "a.zip": make_zip(members),
        "a.tgz": make_tar(members, "w:gz"),
        "a.html": PAGE % 1,
        "a.parquet": make_parquet(["one", "two"]),
        "a.jsonl.zst": zstandard.compress(b'{"text": "x"}\n[1]\n'),
        "a.txt": "text 文字 \u0434\u0430".encode("utf-16"),
    }[name]
    for content in (data, good[:at] + data + good[at + cut :]):
        assert all(isinstance(record, Document | Reject) for record in read_bytes(tmp_path, name, content))
