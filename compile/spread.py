"""How a backend's divergence spreads: over positions, over sizes, and where it is worst."""

import numpy as np

from castline.compile.fidelity import Comparison, Guess
from castline.recipe import Table

_PARTS = 64

# Histogram of KL per token: bins of half a decade, 1e-9 to 10; the first and last also hold what lies beyond.
LOWEST, BINS = -9.0, 20


class Word(Table):
    """A token that may come next."""

    id: int
    log_prob: float


class WorstToken(Table):
    """A position where a backend is far from the checkpoint."""

    sequence: int
    position: int
    kl: float
    checkpoint: tuple[Word, ...]
    """The most likely next tokens by the checkpoint, the most likely first."""
    backend: tuple[Word, ...]
    """By the backend."""


class Spread(Table):
    """KL(checkpoint ‖ backend) in nats, rounded to 1e-9."""

    by_position: tuple[float, ...]
    """Means over all sequences, for up to 64 equal parts of their length."""
    histogram: tuple[int, ...]
    """Tokens by log10 of their KL: bins of 0.5 from -9 to 1."""
    worst: tuple[WorstToken, ...]


def spread_of(comparison: Comparison) -> Spread | None:
    """Condense a comparison; None where a figure is no number."""
    divergence = comparison.divergence
    if not np.isfinite(divergence).all():
        return None
    parts = np.array_split(divergence, min(_PARTS, divergence.shape[1]), axis=1)
    logarithms = np.log10(np.maximum(divergence.round(9), 10**LOWEST))
    bins = np.clip(((logarithms - LOWEST) * 2).astype(int), 0, BINS - 1)
    return Spread(
        by_position=tuple(round(float(part.mean()), 9) for part in parts),
        histogram=tuple(np.bincount(bins.ravel(), minlength=BINS).tolist()),
        worst=tuple(
            WorstToken(
                sequence=one.sequence,
                position=one.position,
                kl=round(one.kl, 9),
                checkpoint=_words(one.checkpoint),
                backend=_words(one.backend),
            )
            for one in comparison.worst
        ),
    )


def _words(guesses: tuple[Guess, ...]) -> tuple[Word, ...]:
    # An impossible token's log-probability is no JSON number.
    return tuple(Word(id=guess.id, log_prob=round(max(guess.log_prob, -1e9), 4)) for guess in guesses)
