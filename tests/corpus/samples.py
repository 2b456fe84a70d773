"""What the tests of readers share: web archives and archives made here, and what was read as lists."""

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from castline.corpus.config import Source
from castline.corpus.documents import Document, Reason, Reject
from castline.corpus.readers.read import read_files
from castline.corpus.sources import find_files

PAGE = b"<html><body><main><h1>Title</h1><p>A paragraph of the page, number %d.</p></main></body></html>"


def whole(folder: Path, name: str, **options: Any) -> list[Document | Reject]:
    """What a source of this path gives, read in one go."""
    source = Source(name="s", path=name, **options)
    return list(read_files(source, tuple(find_files(source, folder))))


_READ = """
import json, resource, sys
from pathlib import Path
from castline.corpus.config import Source
from castline.corpus.readers import html, parquet
from castline.corpus.readers.read import read_files
from castline.corpus.sources import find_files

folder, name, options = sys.argv[1:]
source = Source(name="s", path=name, **json.loads(options))
files = find_files(source, Path(folder))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = [getattr(record, "text", None) or f"{record.reason} {record.where}" for record in read_files(source, files)]
print(json.dumps([found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


def read_in_process(folder: Path, name: str, **options: Any) -> tuple[list[str], int]:
    """The texts and rejects of a file, and by how many bytes reading it raised a process's peak memory."""
    command = [sys.executable, "-c", _READ, str(folder), name, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found, memory = json.loads(done.stdout)
    return found, memory


def texts(records: list[Document | Reject]) -> list[str]:
    """Of the documents."""
    return [record.text for record in records if isinstance(record, Document)]


def reasons(records: list[Document | Reject]) -> list[Reason]:
    """Of the rejects."""
    return [record.reason for record in records if isinstance(record, Reject)]


def response(url: str, page: bytes, status: str = "200 OK", media_type: str = "text/html") -> bytes:
    """A WARC record of a page as a server sent it."""
    http = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(page)}\r\n\r\n".encode() + page
    return record("response", http, url, "application/http; msgtype=response")


def record(kind: str, body: bytes, url: str, media_type: str) -> bytes:
    """A WARC record."""
    header = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-02-03T04:05:06Z\r\n"
        f"WARC-Record-ID: <urn:uuid:1>\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return header.encode() + body + b"\r\n\r\n"


def make_tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of members by name; `mode` as of tarfile."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def make_zip(members: dict[str, bytes]) -> bytes:
    """A zip archive of members by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def make_parquet(texts: list[str]) -> bytes:
    """A parquet file of texts."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), sink)
    return sink.getvalue()
