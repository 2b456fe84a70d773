"""Which documents are held out for evaluation: whole duplicate clusters, chosen by a hash."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

TRAIN = "train"
HELD_OUT = "held_out"


def held_out(
    names: Iterable[str | bytes],
    cluster: npt.NDArray[np.int64],
    sources: npt.NDArray[np.object_],
    share: float,
    seed: int,
) -> npt.NDArray[np.bool_]:
    """Mark the kept documents that are held out.

    A cluster is held out when the hash of its name falls below `share`, so the choice stays the same when
    documents come or go. A source with two clusters or more has at least one held out (unless `share` is
    0) and at least one left for training.

    Args:
        names: of the clusters.
        cluster: the number of every kept document's cluster among them.
        sources: the source of every kept document.
        share: between 0 and 1.
        seed: another seed gives another choice.
    """
    if share == 0.0:
        return np.zeros(len(cluster), dtype=bool)
    ranks = np.fromiter((_rank(name, seed) for name in names), np.float64)
    chosen = ranks < share
    for source in dict.fromkeys(sources):
        has = np.zeros(len(ranks), dtype=bool)
        has[cluster[sources == source]] = True
        if has.sum() > 1:
            chosen[np.argmin(np.where(has, ranks, np.inf))] = True
            chosen[np.argmax(np.where(has, ranks, -np.inf))] = False
    return chosen[cluster]


def _rank(name: str | bytes, seed: int) -> float:
    """A number in [0, 1) that looks random."""
    text = name.decode() if isinstance(name, bytes) else name
    digest = hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
