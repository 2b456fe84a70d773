"""The fifth stage: the selected documents as tokens, part by part, where the shards are then made from.

`.castline/tokens/` has the files of `TokenFiles` for every part, until the corpus is finished. The tokens are those of
its selected documents in order, each with the end-of-text token behind it.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from castline.corpus.documents import Document
from castline.corpus.measure import Part
from castline.corpus.selected import selected_documents, selected_table
from castline.corpus.shards import token_dtype
from castline.corpus.sources import WORKSPACE
from castline.corpus.split import TRAIN
from castline.corpus.tables import few_strings
from castline.corpus.tokenization.characters import CODE_POINTS, count_characters, sparse
from castline.corpus.tokenization.encoder import TextEncoder
from castline.corpus.workers import Workers
from castline.corpus.workspace import Workspace
from castline.files import atomic_write, sha256_file
from castline.progress import progress

FORMAT = 3
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
            workspace.save(f"encode/{name}", keys[name], {}, TokenFiles.of(workspace.out, name))
            advance(todo[number].documents)


@dataclass(frozen=True)
class TokenFiles:
    """The files with a part's tokens, the counts of its documents, and the characters of those to train on."""

    tokens: Path
    counts: Path  # shape [documents, 2]: tokens with the one that ends it, bytes in tokens that are no whole characters
    characters: Path  # as characters.sparse gives them

    @classmethod
    def of(cls, out: Path, part: str) -> "TokenFiles":
        """Those of the part of this name."""
        folder = out / FOLDER
        return cls(folder / f"{part}.tokens", folder / f"{part}.counts.npy", folder / f"{part}.characters.npy")

    def __iter__(self) -> Iterator[Path]:
        """All of them."""
        return iter((self.tokens, self.counts, self.characters))


@functools.cache
def _encoder(path: Path, sha256: str, eos_id: int) -> TextEncoder:
    return TextEncoder(path, eos_id)


def _run(job: _Job) -> None:
    encoder = _encoder(job.out / "tokenizer.json", job.tokenizer_sha256, job.eos_id)
    dtype = token_dtype(encoder.tokenizer.vocab_size)
    end = np.array([encoder.eos_id], dtype)
    train = few_strings(selected_table(job.out, job.part, ["split"])["split"]) == TRAIN
    counts = np.empty((len(train), 2), "<i8")
    characters = np.zeros(CODE_POINTS, np.int64)
    files = TokenFiles.of(job.out, job.part.name)
    done = 0
    with atomic_write(files.tokens) as file:
        for batch in _batches(job.out, job.part):
            encoded = encoder(batch)
            rows = slice(done, done + len(batch))
            counts[rows, 0] = [len(tokens) + 1 for tokens in encoded]
            tokens = np.concatenate([piece for tokens in encoded for piece in (tokens.astype(dtype), end)])
            ends = np.cumsum(encoder.partial_bytes[tokens])[np.cumsum(counts[rows, 0]) - 1]
            counts[rows, 1] = np.diff(ends, prepend=0)
            file.write(tokens.data)
            chosen = zip(batch, train[rows], strict=True)
            count_characters((document.text for document, is_train in chosen if is_train), characters)
            done = rows.stop
    for path, values in ((files.counts, counts), (files.characters, sparse(characters).astype("<i8"))):
        with atomic_write(path) as file:
            np.save(file, values)


def _batches(out: Path, part: Part) -> Iterator[list[Document]]:
    documents = selected_documents(out, part)
    while batch := list(itertools.islice(documents, BATCH)):
        yield batch
