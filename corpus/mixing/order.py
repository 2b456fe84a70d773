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

    def reads(self, documents: int) -> Integers:
        """How often each of so many documents is read."""
        return np.bincount(self.document, minlength=documents)


def order_phase(
    name: str,
    targets: Sequence[Target],
    member: Integers,
    tokens: Integers,
    read: Integers,
    seed: int,
    max_repeats: int | None,
) -> Order:
    """Choose the documents of every group and shuffle them all.

    Of each group as many whole passes as fit are read, then part of one: first what was read least often, among these
    in random order. Of the last document only what fits is read. Documents that have been read `max_repeats` times
    are in no pass.

    Args:
        name: of the phase.
        targets: of the groups.
        member: the group of every document.
        tokens: the length of every document.
        read: how often earlier phases read every document.
        seed: decides, with the name, what a partial pass holds, and the order.
        max_repeats: how often this phase and earlier ones may read a document, if that is bounded.
    """
    by_group = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member, minlength=len(targets)))[:-1])
    documents, taken = [np.empty(0, dtype=np.int64)], [tokens[:0]]
    for target, mine in zip(targets, by_group, strict=True):
        rest, passes = target.tokens, 0
        while rest:
            usable = mine if max_repeats is None else mine[read[mine] + passes < max_repeats]
            count = tokens[usable]
            if (size := int(count.sum())) > rest:
                usable = _partial_pass(name, target, usable, tokens, read, rest, seed)
                count = tokens[usable]
                count[-1] -= int(count.sum()) - rest
                size = rest
            documents.append(usable)
            taken.append(count)
            rest -= size
            passes += 1
    document, tokens_read = np.concatenate(documents), np.concatenate(taken)
    order = _random(seed, name).permutation(len(document))
    return Order(document[order], tokens_read[order])


def _partial_pass(
    name: str, target: Target, mine: Integers, tokens: Integers, read: Integers, rest: int, seed: int
) -> Integers:
    """The documents, of those that may be read (`mine`), that hold a group's last `rest` tokens."""
    group = target.group
    random = _random(seed, name, group.source, group.language, group.length, str(group.repeats))
    chosen = mine[np.lexsort((random.permutation(len(mine)), read[mine]))]
    return chosen[: int(np.searchsorted(np.cumsum(tokens[chosen]), rest)) + 1]


def _random(seed: int, *names: str) -> np.random.Generator:
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])
