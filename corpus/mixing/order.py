"""Targets to documents in training order: which ones a partial pass holds, and the shuffle."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from castline.corpus.mixing.phases import Target

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """Entries in training order: the number of a document, and how many of its tokens are read."""

    document: Integers
    tokens: Integers


def order_phase(
    name: str, targets: Sequence[Target], member: Integers, tokens: Integers, read: Integers, seed: int
) -> Order:
    """Choose the documents of every group and shuffle them all.

    Of each group as many whole passes as fit are read, then part of one: first what was read least often, among these
    in random order. Of the last document only what fits is read.

    Args:
        name: of the phase.
        targets: of the groups.
        member: the group of every document.
        tokens: the length of every document.
        read: how often earlier phases read every document.
        seed: decides, with the name, what a partial pass holds, and the order.
    """
    by_group = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member, minlength=len(targets)))[:-1])
    documents, taken = [], []
    for target, mine in zip(targets, by_group, strict=True):
        whole, rest = divmod(target.tokens, target.group.tokens)
        chosen = _partial_pass(name, target, mine, tokens, read, rest, seed) if rest else mine[:0]
        last = tokens[chosen]
        if rest:
            last[-1] -= int(last.sum()) - rest
        documents += [np.tile(mine, whole), chosen]
        taken += [np.tile(tokens[mine], whole), last]
    document, count = np.concatenate(documents), np.concatenate(taken)
    order = _random(seed, name).permutation(len(document))
    return Order(document[order], count[order])


def _partial_pass(
    name: str, target: Target, mine: Integers, tokens: Integers, read: Integers, rest: int, seed: int
) -> Integers:
    """The documents of a group that hold its last `rest` tokens."""
    group = target.group
    random = _random(seed, name, group.source, group.language, group.length, str(group.repeats))
    chosen = mine[np.lexsort((random.permutation(len(mine)), read[mine]))]
    return chosen[: int(np.searchsorted(np.cumsum(tokens[chosen]), rest)) + 1]


def _random(seed: int, *names: str) -> np.random.Generator:
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])
