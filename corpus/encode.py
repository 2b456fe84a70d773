"""The fifth stage: the selected documents as tokens, part by part, where the shards are then made from.

`.castline/tokens/TASK-PART.tokens` holds the tokens of a part's selected documents in order, each with the
end-of-text token behind it; `.castline/tokens/TASK-PART.npy` two numbers per document (int64): its tokens,
and its bytes in tokens that are pieces of characters. Both go when the corpus is finished.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from castline.corpus.documents import Document
from castline.corpus.measure import Part
from castline.corpus.selected import selected_documents
from castline.corpus.shards import token_dtype
from castline.corpus.sources import WORKSPACE
from castline.corpus.tokenization.encoder import TextEncoder
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.files import atomic_write, sha256_file
from castline.progress import progress

FORMAT = 2
FOLDER = f"{WORKSPACE}/tokens"
BATCH = 1024


@dataclass(frozen=True)
class _Job:
    part: Part
    out: Path
    tokenizer_sha256: str
    eos_id: int


def encode_documents(parts: list[Part], eos_id: int, workspace: Workspace, depends_on: Any, workers: Workers) -> None:
    """Encode the selected documents of every part that is not encoded yet.

    Args:
        parts: what is selected, in order.
        eos_id: the token that ends documents.
        workspace: of the corpus.
        depends_on: what identifies the tokenizer and the decisions.
        workers: to share the work.
    """
    keys = {part.name: {"format": FORMAT, "documents": part.sha256, "depends_on": depends_on} for part in parts}
    todo = [part for part in parts if workspace.load(f"encode/{part.name}", keys[part.name]) is None]
    with progress("encoding", sum(part.documents for part in todo), "documents") as advance:
        sha256 = sha256_file(workspace.out / "tokenizer.json")
        jobs = [_Job(part, workspace.out, sha256, eos_id) for part in todo]
        for number, _ in workers.run(_run, jobs):
            name = todo[number].name
            workspace.save(f"encode/{name}", keys[name], {}, token_files(workspace.out, name))
            advance(todo[number].documents)


def token_files(out: Path, part: str) -> tuple[Path, Path]:
    """The files with a part's tokens and with the counts of its documents."""
    return out / FOLDER / f"{part}.tokens", out / FOLDER / f"{part}.npy"


@functools.cache
def _encoder(path: Path, sha256: str, eos_id: int) -> TextEncoder:
    return TextEncoder(path, eos_id)


def _run(job: _Job) -> None:
    encoder = _encoder(job.out / "tokenizer.json", job.tokenizer_sha256, job.eos_id)
    dtype = token_dtype(encoder.tokenizer.vocab_size)
    counts: list[tuple[int, int]] = []
    tokens_path, counts_path = token_files(job.out, job.part.name)
    with atomic_write(tokens_path) as file:
        for batch in _batches(job.out, job.part):
            for tokens in encoder(batch):
                file.write(np.append(tokens, np.uint32(encoder.eos_id)).astype(dtype).tobytes())
                counts.append((len(tokens) + 1, int(encoder.partial_bytes[tokens].sum())))
    with atomic_write(counts_path) as file:
        np.save(file, np.array(counts, dtype="<i8").reshape(-1, 2))


def _batches(out: Path, part: Part) -> Iterator[list[Document]]:
    batch = []
    for document in selected_documents(out, part):
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch
