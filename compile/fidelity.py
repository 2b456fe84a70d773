"""How far a backend's logits are from the checkpoint's: KL divergence, top-1 agreement, perplexity."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from castline.recipe import Table

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Ids = NDArray[np.signedinteger[Any]]

LogitsOf = Callable[[list[int]], Float32]
"""A backend: token ids [L] to logits [L, vocab]."""


class Fidelity(Table):
    """The distance of a backend from the checkpoint over all compared positions.

    KL is rounded to 1e-9 nats and the rest to six digits: what lies below is the rounding of float32 sums, which
    differs from processor to processor.
    """

    model_config = ConfigDict(allow_inf_nan=True)  # what a broken backend gives

    tokens: int
    mean_kl: float
    """Mean over positions of KL(checkpoint ‖ backend), in nats."""
    max_kl: float
    top1_agreement: float
    """Share of positions where both find the same token most likely."""
    perplexity: float
    """The backend's, of the tokens that follow."""
    perplexity_ratio: float
    """The backend's perplexity over the checkpoint's."""


class Compared(NamedTuple):
    """One sequence of L tokens, compared."""

    divergence: Float64
    """KL(checkpoint ‖ backend) at every position [L]."""
    top1: Ids
    """The checkpoint's most likely token at every position [L]."""
    next_losses: Float64
    """The checkpoint's -log p of the tokens that follow [L - 1]."""


class Reference(Protocol):
    """What the checkpoint says of S sequences of L tokens."""

    @property
    def ids(self) -> Ids:
        """[S, L]."""

    def compare(self, sequence: int, log_probs: Float64) -> Compared:
        """Compare a backend's log-probabilities [L, vocab] of one sequence."""


@dataclass(frozen=True)
class ReferenceLogits:
    """A reference that holds all logits."""

    ids: Ids
    logits: list[Float32]
    """[L, vocab] of every sequence."""

    def log_probs(self, sequence: int) -> Float64:
        """[L, vocab]."""
        return log_softmax(self.logits[sequence])

    def compare(self, sequence: int, log_probs: Float64) -> Compared:
        """See `Reference`."""
        reference = self.log_probs(sequence)
        divergence: Float64 = (np.exp(reference) * (reference - log_probs)).sum(axis=-1)
        return Compared(
            np.maximum(divergence, 0),  # never negative but for rounding; a NaN stays
            reference.argmax(axis=-1),
            next_token_losses(reference, self.ids[sequence]),
        )


def measure(backend: LogitsOf, reference: Reference, advance: Callable[[float], None]) -> Fidelity:
    """Run a backend over the reference's sequences; `advance` is told how many tokens are done."""
    divergences, agreements, losses, reference_losses = [], [], [], []
    for index, ids in enumerate(reference.ids):
        with np.errstate(invalid="ignore"):  # a broken backend's infinities become NaN, which no bound admits
            log_probs = log_softmax(backend(ids.tolist()))
            compared = reference.compare(index, log_probs)
        divergences.append(compared.divergence)
        agreements.append(log_probs.argmax(axis=-1) == compared.top1)
        losses.append(next_token_losses(log_probs, ids))
        reference_losses.append(compared.next_losses)
        advance(len(ids))
    divergence = np.concatenate(divergences)
    loss = float(np.concatenate(losses).mean())
    reference_loss = float(np.concatenate(reference_losses).mean())
    return Fidelity(
        tokens=len(divergence),
        mean_kl=round(float(divergence.mean()), 9),
        max_kl=round(float(divergence.max()), 9),
        top1_agreement=rounded(float(np.concatenate(agreements).mean())),
        perplexity=rounded(_exp(loss)),
        perplexity_ratio=rounded(_exp(loss - reference_loss)),
    )


def log_softmax(logits: Float32) -> Float64:
    """Natural log-probabilities over the last axis."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def next_token_losses(log_probs: Float64, ids: Ids) -> Float64:
    """-log p of the tokens that follow: [n - 1], from log-probabilities [n, vocab] and their ids [n]."""
    losses: Float64 = -np.take_along_axis(log_probs[:-1], ids[1:, None].astype(np.int64), axis=1)[:, 0]
    return losses


def rounded(value: float) -> float:
    """To six significant digits."""
    return float(f"{value:.6g}")


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
