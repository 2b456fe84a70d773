"""How far a backend's logits are from the checkpoint's: KL divergence, top-1 agreement, perplexity."""

import math
from collections.abc import Callable, Iterator
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

WORST = 8  # positions that are shown
GUESSES = 5  # tokens shown of each

_PIECE = 1 << 22


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
    """Rows of one sequence of L tokens, compared."""

    divergence: Float64
    """KL(checkpoint ‖ backend) at every position [rows]."""
    top1: Ids
    """The checkpoint's most likely token at every position [rows]."""
    next_losses: Float64
    """The checkpoint's -log p of the tokens that follow [rows; one less where the rows end the sequence]."""


class Guess(NamedTuple):
    """A token that may come next."""

    id: int
    log_prob: float


class Reference(Protocol):
    """What the checkpoint says of S sequences of L tokens."""

    @property
    def ids(self) -> Ids:
        """[S, L]."""

    def compare(self, sequence: int, rows: slice, log_probs: Float64) -> Compared:
        """Compare a backend's log-probabilities [rows, vocab] of some rows of one sequence."""

    def guesses(self, sequence: int, position: int, count: int) -> tuple[Guess, ...]:
        """The most likely tokens after a position, the most likely first."""


class LogitsBySequence(Protocol):
    """A list of logits [L, vocab], or what makes them when they are asked for."""

    def __getitem__(self, sequence: int, /) -> Float32: ...


@dataclass(frozen=True)
class ReferenceLogits:
    """A reference that has all logits."""

    ids: Ids
    logits: LogitsBySequence
    """[L, vocab] of every sequence."""

    def log_probs(self, sequence: int, rows: slice) -> Float64:
        """[rows, vocab]."""
        return log_softmax(self.logits[sequence][rows])

    def compare(self, sequence: int, rows: slice, log_probs: Float64) -> Compared:
        """See `Reference`."""
        reference = self.log_probs(sequence, rows)
        divergence: Float64 = (np.exp(reference) * (reference - log_probs)).sum(axis=-1)
        return Compared(
            np.maximum(divergence, 0),  # never negative but for rounding; a NaN stays
            reference.argmax(axis=-1),
            next_token_losses(reference, following(self.ids[sequence], rows)),
        )

    def guesses(self, sequence: int, position: int, count: int) -> tuple[Guess, ...]:
        """See `Reference`."""
        return best_guesses(self.log_probs(sequence, slice(position, position + 1))[0], count)


def measure(backend: LogitsOf, reference: Reference, advance: Callable[[float], None]) -> Fidelity:
    """Run a backend over the reference's sequences; `advance` is told how many tokens are done."""
    return compare(backend, reference, advance).fidelity


@dataclass(frozen=True)
class Disagreement:
    """A position where a backend is far from the checkpoint, and what each expects to follow."""

    sequence: int
    position: int
    kl: float
    checkpoint: tuple[Guess, ...]
    backend: tuple[Guess, ...]


@dataclass(frozen=True)
class Comparison:
    """A backend beside the checkpoint, at every position of S sequences of L tokens."""

    divergence: Float64
    """KL(checkpoint ‖ backend) [S, L]."""
    agreement: NDArray[np.bool_]
    """Whether both find the same token most likely [S, L]."""
    losses: Float64
    """The backend's -log p of the tokens that follow [S, L - 1]."""
    reference_losses: Float64
    """The checkpoint's [S, L - 1]."""
    worst: tuple[Disagreement, ...]
    """The positions of the largest divergence, the largest first."""

    @property
    def fidelity(self) -> Fidelity:
        """The figures over all positions."""
        loss, reference_loss = float(self.losses.mean()), float(self.reference_losses.mean())
        return Fidelity(
            tokens=self.divergence.size,
            mean_kl=round(float(self.divergence.mean()), 9),
            max_kl=round(float(self.divergence.max()), 9),
            top1_agreement=rounded(float(self.agreement.mean())),
            perplexity=rounded(_exp(loss)),
            perplexity_ratio=rounded(_exp(loss - reference_loss)),
        )


def compare(backend: LogitsOf, reference: Reference, advance: Callable[[float], None]) -> Comparison:
    """Compare a backend with a reference at every position; `advance` is told how many tokens are done.

    Probabilities are computed for some rows at a time: with large vocabularies they take more memory than models.
    """
    divergences, agreements, losses, reference_losses = [], [], [], []
    worst: list[Disagreement] = []
    for index, ids in enumerate(reference.ids):
        logits = backend(ids.tolist())
        for rows in pieces(logits):
            with np.errstate(invalid="ignore"):  # a broken backend's infinities become NaN, which no bound admits
                log_probs = log_softmax(logits[rows])
                compared = reference.compare(index, rows, log_probs)
            divergences.append(compared.divergence)
            agreements.append(log_probs.argmax(axis=-1) == compared.top1)
            losses.append(next_token_losses(log_probs, following(ids, rows)))
            reference_losses.append(compared.next_losses)
            worst = _worst(worst, index, rows, log_probs, compared, reference)
        advance(len(ids))
    shape = reference.ids.shape
    return Comparison(
        np.concatenate(divergences).reshape(shape),
        np.concatenate(agreements).reshape(shape),
        np.concatenate(losses).reshape(shape[0], -1),
        np.concatenate(reference_losses).reshape(shape[0], -1),
        tuple(worst),
    )


def _worst(
    known: list[Disagreement], sequence: int, rows: slice, log_probs: Float64, compared: Compared, reference: Reference
) -> list[Disagreement]:
    """The worst positions of those known and those of some rows."""
    bar = known[-1].kl if len(known) == WORST else -math.inf
    found = []
    for row in np.argsort(-compared.divergence, kind="stable")[:WORST].tolist():
        if (kl := float(compared.divergence[row])) > bar:
            position = rows.start + row
            guesses = reference.guesses(sequence, position, GUESSES), best_guesses(log_probs[row], GUESSES)
            found.append(Disagreement(sequence, position, kl, *guesses))
    return sorted(known + found, key=lambda one: -one.kl)[:WORST]


def pieces(logits: Float32) -> Iterator[slice]:
    """Cut [L, vocab] into rows of at most `_PIECE` numbers together."""
    step = max(1, _PIECE // logits.shape[1])
    for start in range(0, len(logits), step):
        yield slice(start, min(start + step, len(logits)))


def following(ids: Ids, rows: slice) -> Ids:
    """The tokens that follow some rows of a sequence; the last token has none."""
    return ids[rows.start + 1 : rows.stop + 1]


def best_guesses(log_probs: Float64, count: int) -> tuple[Guess, ...]:
    """The most likely of [vocab] log-probabilities, the most likely first; of equals, the lowest id."""
    order = np.argsort(-log_probs, kind="stable")[:count].tolist()
    return tuple(Guess(token, float(log_probs[token])) for token in order)


def log_softmax(logits: Float32) -> Float64:
    """Natural log-probabilities over the last axis."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def next_token_losses(log_probs: Float64, tokens: Ids) -> Float64:
    """-log p of the tokens [n] that follow the first n rows of log-probabilities."""
    rows = log_probs[: len(tokens)]
    losses: Float64 = -np.take_along_axis(rows, tokens[:, None].astype(np.int64), axis=1)[:, 0]
    return losses


def rounded(value: float) -> float:
    """To six significant digits."""
    return float(f"{value:.6g}")


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf
