"""The fifth stage: the selected documents as tokens, part by part, where the shards are then made from.

`.castline/tokens/TASK-PART.tokens` holds the tokens of a part's selected documents in order, each with the
end-of-text token behind it; `.castline/tokens/TASK-PART.npy` their number per document (int64). Both go
when the corpus is finished.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from castline import _C
from castline.corpus.documents import Document
from castline.corpus.measure import Part
from castline.corpus.selected import selected_documents
from castline.corpus.shards import token_dtype
from castline.corpus.sources import WORKSPACE
from castline.corpus.special_tokens import END_OF_TEXT, plain_pieces
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.files import atomic_write, sha256_file
from castline.progress import progress

FORMAT = 1
FOLDER = f"{WORKSPACE}/tokens"
BATCH = 1024


@dataclass(frozen=True)
class _Job:
    part: Part
    out: Path
    tokenizer_sha256: str


def encode_documents(parts: list[Part], workspace: Workspace, depends_on: Any, workers: Workers) -> None:
    """Encode the selected documents of every part that is not encoded yet.

    Args:
        parts: what is selected, in order.
        workspace: of the corpus.
        depends_on: what identifies the tokenizer and the decisions.
        workers: to share the work.
    """
    keys = {part.name: {"format": FORMAT, "documents": part.sha256, "depends_on": depends_on} for part in parts}
    todo = [part for part in parts if workspace.load(f"encode/{part.name}", keys[part.name]) is None]
    with progress("encoding", sum(part.documents for part in todo), "documents") as advance:
        sha256 = sha256_file(workspace.out / "tokenizer.json")
        jobs = [_Job(part, workspace.out, sha256) for part in todo]
        for number, _ in workers.run(_run, jobs):
            name = todo[number].name
            workspace.save(f"encode/{name}", keys[name], {}, token_files(workspace.out, name))
            advance(todo[number].documents)


def token_files(out: Path, part: str) -> tuple[Path, Path]:
    """The files with a part's tokens and with their number per document."""
    return out / FOLDER / f"{part}.tokens", out / FOLDER / f"{part}.npy"


@functools.cache
def _tokenizer(path: Path, sha256: str) -> _C.Tokenizer:
    return _C.Tokenizer(path)


def _run(job: _Job) -> None:
    tokenizer = _tokenizer(job.out / "tokenizer.json", job.tokenizer_sha256)
    end = tokenizer.encode(END_OF_TEXT)
    dtype = token_dtype(tokenizer.vocab_size)
    lengths: list[int] = []
    tokens_path, lengths_path = token_files(job.out, job.part.name)
    with atomic_write(tokens_path) as file:
        for batch in _batches(job.out, job.part):
            for tokens in encode(tokenizer, batch):
                file.write(np.append(tokens, end).astype(dtype).tobytes())
                lengths.append(len(tokens) + 1)
    with atomic_write(lengths_path) as file:
        np.save(file, np.array(lengths, dtype="<i8"))


def encode(tokenizer: _C.Tokenizer, documents: list[Document]) -> list[npt.NDArray[np.uint32]]:
    """The tokens of each document; only a chat's own markers become special tokens."""
    pieces = [[document.text] if document.kind == "chat" else plain_pieces(document.text) for document in documents]
    encoded = iter(tokenizer.encode_batch([piece for group in pieces for piece in group], threads=1))
    return [next(encoded) if len(group) == 1 else np.concatenate([next(encoded) for _ in group]) for group in pieces]


def _batches(out: Path, part: Part) -> Iterator[list[Document]]:
    batch = []
    for document in selected_documents(out, part):
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch
