"""Training batches out of token shards: which tokens come at which step is a function of the seed and the step.

The training split is one stream of tokens, cut into windows of `sequence_length`. Every epoch takes each window once,
in an order drawn from the seed and the epoch's number; nothing is remembered between steps, so a resumed run reads
what the uninterrupted one would have read. What is left at the end, less than a window, is not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from castline.corpus.shards import TokenShards
from castline.model.reference_ops import IGNORED


@dataclass(frozen=True)
class Batch:
    """Packed sequences, [B, T] each: tokens, the token to predict after each one, and the document of each one."""

    tokens: Tensor
    targets: Tensor
    document_ids: Tensor

    def split(self, rows: int) -> Iterator["Batch"]:
        """The batch in parts of `rows` sequences."""
        parts = (torch.split(t, rows) for t in (self.tokens, self.targets, self.document_ids))
        return (Batch(*part) for part in zip(*parts, strict=True))

    @property
    def counted(self) -> int:
        """The number of positions that have a target."""
        return int((self.targets != IGNORED).sum())


class Windows:
    """A split as sequences of at most `length` tokens, each with its targets and documents.

    The last token of a document predicts nothing: what follows it is another text.
    """

    def __init__(self, shards: TokenShards, length: int) -> None:
        self.length = length
        self._shards = shards
        self._starts = shards.document_starts

    def __len__(self) -> int:
        """How many whole windows there are."""
        return len(self._shards) // self.length

    def read(self, windows: npt.NDArray[np.int64]) -> Batch:
        """The windows of these numbers, one row each."""
        return _stack([self._row(int(window) * self.length, self.length) for window in windows])

    def in_order(self, rows: int, limit: int) -> Iterator[Batch]:
        """The split's first `limit` tokens in batches of `rows` windows; the rest, shorter than one, comes alone."""
        limit = min(limit, len(self._shards))
        whole = limit // self.length
        for first in range(0, whole, rows):
            yield self.read(np.arange(first, min(first + rows, whole)))
        if limit % self.length > 1:
            yield _stack([self._row(whole * self.length, limit % self.length)])

    def documents(self, windows: npt.NDArray[np.int64]) -> list[str]:
        """The ids of the documents in these windows, in order, each once."""
        found: dict[str, None] = {}
        for window in windows:
            at, end = int(window) * self.length, (int(window) + 1) * self.length
            while at < end:
                span = self._shards.document_at(at)
                found[span.document_id] = None
                at = span.end
        return list(found)

    def _row(self, start: int, length: int) -> tuple[npt.NDArray[np.int64], ...]:
        end = min(start + length + 1, len(self._shards))
        stream = self._shards.read(start, end).astype(np.int64)
        ids = np.searchsorted(self._starts, np.arange(start, end), side="right")
        targets = np.full(length, IGNORED, np.int64)
        same = ids[1:] == ids[:-1]
        targets[: len(same)] = np.where(same, stream[1:], IGNORED)
        return stream[:length], targets, ids[:length]


class TrainingData:
    """The training split in the order of training."""

    def __init__(self, shards: TokenShards, *, length: int, batch_size: int, seed: int) -> None:
        """`shards` hold at least one sequence of `length` tokens."""
        self.windows = Windows(shards, length)
        self._batch_size = batch_size
        self._order = lru_cache(maxsize=2)(lambda epoch: _permutation(seed, epoch, len(self.windows)))

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 1."""
        return self.windows.read(self._numbers(step))

    def documents(self, step: int) -> list[str]:
        """The ids of the documents in the batch of a step."""
        return self.windows.documents(self._numbers(step))

    def _numbers(self, step: int) -> npt.NDArray[np.int64]:
        first = (step - 1) * self._batch_size
        count = len(self.windows)
        return np.array([self._order(at // count)[at % count] for at in range(first, first + self._batch_size)])


def _permutation(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(count)


def _stack(rows: list[tuple[npt.NDArray[np.int64], ...]]) -> Batch:
    return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))
