"""Golden log-probabilities: what the checkpoint says of some tokens, kept in the package.

They let a package be proven again on another machine, without the checkpoint: at every position the 64 most
likely tokens with their log-probabilities, and what is left for all others together. KL over these 65 classes
is at most the KL over the whole vocabulary (merging classes never raises it), and close to it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from castline.compile.fidelity import (
    Compared,
    Float32,
    Float64,
    Guess,
    ReferenceLogits,
    following,
    next_token_losses,
    pieces,
)
from castline.errors import PackageError
from castline.files import write_bytes

TOP = 64


@dataclass(frozen=True)
class Golden:
    """A `fidelity.Reference` of S sequences of L tokens; K = 64, or the vocabulary's size where that is less."""

    ids: NDArray[np.int32]
    """[S, L]"""
    top_ids: NDArray[np.int32]
    """[S, L, K], the most likely first"""
    top_log_probs: Float32
    """[S, L, K]"""
    rest_log_prob: Float32
    """[S, L]: of all other tokens together; -inf where there is no other"""
    next_log_probs: Float32
    """[S, L - 1]: of the tokens that follow"""

    def compare(self, sequence: int, rows: slice, log_probs: Float64) -> Compared:
        """See `fidelity.Reference`; the divergence is over the 65 classes."""
        chosen = self.top_ids[sequence, rows].astype(np.int64)
        reference = self.top_log_probs[sequence, rows].astype(np.float64)
        top = np.take_along_axis(log_probs, chosen, axis=-1)
        divergence: Float64 = (np.exp(reference) * (reference - top)).sum(axis=-1)
        if chosen.shape[-1] < log_probs.shape[-1]:
            rest = self.rest_log_prob[sequence, rows].astype(np.float64)
            divergence += np.exp(rest) * (rest - _log_sum_of_others(log_probs, chosen))
        losses = -self.next_log_probs[sequence, rows].astype(np.float64)
        return Compared(np.maximum(divergence, 0), chosen[:, 0], losses)

    def guesses(self, sequence: int, position: int, count: int) -> tuple[Guess, ...]:
        """See `fidelity.Reference`."""
        ids = self.top_ids[sequence, position, :count].tolist()
        return tuple(map(Guess, ids, self.top_log_probs[sequence, position, :count].tolist()))


def make_golden(reference: ReferenceLogits) -> Golden:
    """Condense a reference."""
    shape = reference.ids.shape
    top_ids, top, rest, next_log_probs = [], [], [], []
    for index, ids in enumerate(reference.ids):
        for rows in pieces(reference.logits[index]):
            log_probs = reference.log_probs(index, rows)
            chosen = _most_likely(log_probs)
            top_ids.append(chosen)
            top.append(np.take_along_axis(log_probs, chosen, axis=-1))
            rest.append(_log_sum_of_others(log_probs, chosen))
            next_log_probs.append(-next_token_losses(log_probs, following(ids, rows)))
    return Golden(
        reference.ids.astype(np.int32),
        np.concatenate(top_ids).astype(np.int32).reshape(*shape, -1),
        np.concatenate(top).astype(np.float32).reshape(*shape, -1),
        np.concatenate(rest).astype(np.float32).reshape(shape),
        np.concatenate(next_log_probs).astype(np.float32).reshape(shape[0], -1),
    )


def write_golden(path: Path, golden: Golden) -> None:
    """Write the file; with one metadata key only, since the library does not order several."""
    write_bytes(path, save(vars(golden), metadata={"castline": "golden"}))


def read_golden(path: Path) -> Golden:
    """Read the file.

    Raises:
        PackageError: it is missing or damaged.
    """
    try:
        return Golden(**load_file(path))
    except (SafetensorError, OSError, TypeError) as error:
        raise PackageError(f"cannot read the golden log-probabilities {path}: {error}") from None


def _most_likely(log_probs: Float64) -> NDArray[np.int64]:
    """The ids of the K most likely classes of every row, the most likely first: [n, K]."""
    count = min(TOP, log_probs.shape[-1])
    chosen = np.argpartition(-log_probs, count - 1, axis=-1)[:, :count]
    order = np.argsort(-np.take_along_axis(log_probs, chosen, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(chosen, order, axis=-1)


def _log_sum_of_others(log_probs: Float64, chosen: NDArray[np.int64]) -> Float64:
    """The log-probability of all classes that are not chosen, together: [n]; -inf where there are none."""
    others = log_probs.copy()
    np.put_along_axis(others, chosen, -np.inf, axis=-1)
    if chosen.shape[-1] == log_probs.shape[-1]:
        return np.full(len(log_probs), -np.inf)
    highest = others.max(axis=-1)
    summed: Float64 = highest + np.log(np.exp(others - highest[:, None]).sum(axis=-1))
    return summed
