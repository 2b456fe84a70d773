"""Which documents are held out for evaluation: whole duplicate clusters, chosen by a hash."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

TRAIN = "train"
HELD_OUT = "held_out"


def held_out(clusters: Sequence[str], sources: Sequence[str], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Mark the kept documents that are held out.

    A cluster is held out when the hash of its name falls below `share`, so the choice stays the same when
    documents come or go. A source with two clusters or more has at least one held out (unless `share` is
    0) and at least one left for training.

    Args:
        clusters: the name of every kept document's cluster.
        sources: the source of every kept document.
        share: between 0 and 1.
        seed: another seed gives another choice.
    """
    if share == 0.0:
        return np.zeros(len(clusters), dtype=bool)
    ranks = {name: _rank(name, seed) for name in clusters}
    of_source: dict[str, set[str]] = {}
    for name, source in zip(clusters, sources, strict=True):
        of_source.setdefault(source, set()).add(name)
    chosen = {name for name, rank in ranks.items() if rank < share}
    for names in of_source.values():
        if len(names) > 1:
            ordered = sorted(names, key=lambda name: (ranks[name], name))
            chosen.add(ordered[0])
            chosen.discard(ordered[-1])
    return np.array([name in chosen for name in clusters], dtype=bool)


def _rank(name: str, seed: int) -> float:
    """A number in [0, 1) that looks random."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
