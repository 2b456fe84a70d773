"""The index of documents: for every part a file with what the search for duplicates needs of it.

`duplicates/index/TASK-PART.index` (csrc/text/duplicate_index.hpp) holds the hash of every document's content, its
MinHash band keys and its shingle set: 8 bytes per word, and about 250 per document. A later corpus that is
compared with this one reads these files and no text (`earlier.py`); without such plans they may be deleted.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from castline import _C
from castline.corpus.documents import Document, read_documents
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.measure import Part
from castline.corpus.tables import read_table
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.files import sha256_file, write_bytes
from castline.progress import progress

FORMAT = 1
FOLDER = "duplicates/index"
SUFFIX = ".index"
BATCH = 1024


def index_file(name: str) -> str:
    """The index of the part of this name, relative to the corpus directory."""
    return f"{FOLDER}/{name}{SUFFIX}"


def index_documents(parts: list[Part], config: DedupConfig, workspace: Workspace, workers: Workers) -> dict[str, str]:
    """Write the index of every part that has none yet.

    Returns:
        The SHA-256 of every index file, by its path in the corpus directory.
    """
    hashes: dict[str, str] = {}
    todo = []
    for part in parts:
        stored = workspace.load(_step(part), _key(part, config))
        if stored is None:
            todo.append(part)
        else:
            hashes[index_file(part.name)] = stored
    with progress("indexing", sum(part.documents for part in todo), "documents") as advance:
        jobs = [(workspace.out, part.name, config) for part in todo]
        for number, sha256 in workers.run(_run, jobs):
            part = todo[number]
            path = index_file(part.name)
            workspace.save(_step(part), _key(part, config), sha256, [workspace.out / path])
            hashes[path] = sha256
            advance(part.documents)
    workspace.keep_only(FOLDER, (part.name + SUFFIX for part in parts))
    return dict(sorted(hashes.items()))


def _step(part: Part) -> str:
    return f"index/{part.name}"


def _key(part: Part, config: DedupConfig) -> dict[str, Any]:
    bands = _C.choose_bands(config.threshold, config.permutations, config.recall) if config.near else None
    return {
        "format": FORMAT,
        "documents": part.sha256["documents"],
        "bands": bands,
        "permutations": config.permutations if config.near else None,
    }


def _run(job: tuple[Path, str, DedupConfig]) -> str:
    out, name, config = job
    index = _C.DuplicateIndex(config.threshold, config.permutations, config.recall, near=config.near)
    hashes = _content_hashes(out / "measurements" / f"{name}.parquet")
    for kind, documents in _batches(read_documents(out / "documents" / f"{name}.jsonl.zst")):
        rows = slice(len(index), len(index) + len(documents))
        index.add([document.text for document in documents], kind, hashes[rows])
    path = out / index_file(name)
    write_bytes(path, bytes(index))
    return sha256_file(path)


def _content_hashes(path: Path) -> npt.NDArray[np.uint64]:
    """The hashes that were measured: shape [documents, 2]."""
    column = read_table(path, ["content_hash"])["content_hash"]
    raw = b"".join(column.to_pylist())
    return np.frombuffer(raw, "<u8").reshape(-1, 2).astype(np.uint64)


def _batches(documents: Iterator[Document]) -> Iterator[tuple[Literal["text", "code"], list[Document]]]:
    """Documents in order, in batches of one kind."""
    for is_code, group in itertools.groupby(documents, lambda document: document.kind == "code"):
        while batch := list(itertools.islice(group, BATCH)):
            yield "code" if is_code else "text", batch
