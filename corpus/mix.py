"""The training order: how often each source is read, to the token, and in which order.

A source of weight w is read w times: as many whole passes as fit, then a random part of one. A pass reads every
document as often as its repeats say: once, or more where its quality earns that. With a total budget
the weights are scaled, so that the sources' shares stay and the sum is exact. A document that does not fit the
rest of a budget is cut.
"""

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from castline.errors import RecipeError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """Entries in training order: the number of a document, and how many of its tokens are read."""

    document: Integers
    tokens: Integers
    targets: dict[str, int]  # tokens per source; what `tokens` sums to


def mix(
    lengths: dict[str, Integers],
    repeats: dict[str, Integers],
    weights: dict[str, float],
    total: int | None,
    seed: int,
) -> Mixture:
    """Choose and shuffle the documents to train on.

    Args:
        lengths: per source, the tokens of each of its documents; documents are numbered through all sources.
        repeats: per source, how often one pass reads each of its documents.
        weights: per source, how many passes over it are read.
        total: the exact sum of tokens, or None for what the weights give.
        seed: decides which documents a partial pass holds, and the order.

    Raises:
        RecipeError: there is nothing to read: no weight is above zero where there are tokens.
    """
    available = {source: int((tokens * repeats[source]).sum()) for source, tokens in lengths.items()}
    targets = budgets(available, weights, total)
    documents: list[Integers] = []
    tokens: list[Integers] = []
    offset = 0
    for source, length in lengths.items():
        numbers, taken = _passes(length, repeats[source], targets[source], _random(seed, source))
        documents.append(numbers + offset)
        tokens.append(taken)
        offset += len(length)
    document, taken = np.concatenate(documents), np.concatenate(tokens)
    order = _random(seed, "").permutation(len(document))
    return Mixture(document[order], taken[order], targets)


def budgets(available: dict[str, int], weights: dict[str, float], total: int | None) -> dict[str, int]:
    """How many tokens to read of each source, of which one pass reads `available`.

    Rounded by the largest remainder, so that they sum to the total exactly.
    """
    shares = {source: available[source] * Fraction(weights[source]) for source in available}
    whole = sum(shares.values())
    if whole == 0:
        raise RecipeError("expected tokens to train on, but every source has weight 0 or no documents left")
    budget = round(whole) if total is None else total
    exact = {source: share * budget / whole for source, share in shares.items()}
    result = {source: int(value) for source, value in exact.items()}
    by_remainder = sorted(exact, key=lambda source: (result[source] - exact[source], source))
    for source in by_remainder[: budget - sum(result.values())]:
        result[source] += 1
    return result


def _passes(length: Integers, repeats: Integers, target: int, random: np.random.Generator) -> tuple[Integers, Integers]:
    """Documents (by number) and tokens of each that sum to `target`."""
    if target == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    one_pass = np.repeat(np.arange(len(length)), repeats)
    whole, rest = divmod(target, int(length[one_pass].sum()))
    numbers = np.tile(one_pass, whole)
    chosen = random.permutation(one_pass)
    ends = np.cumsum(length[chosen])
    chosen = chosen[: int(np.searchsorted(ends, rest)) + 1] if rest else chosen[:0]
    taken = length[chosen]
    if rest:
        taken[-1] -= taken.sum() - rest
    return np.concatenate([numbers, chosen]), np.concatenate([length[numbers], taken])


def _random(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])
