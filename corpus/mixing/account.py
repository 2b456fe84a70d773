"""The mixture against its plan: what the written shards of a phase hold, counted again from their indexes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from castline.corpus.mixing.phases import Target
from castline.corpus.tables import fixed_width

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MixtureRow:
    """Documents of one budget, source, language and length: their tokens, each document once, the plan, and the shards.

    `read` is None where nothing is written yet.
    """

    budget: str
    source: str
    kind: str
    language: str
    length: str
    available: int
    planned: int
    read: int | None = None


def mixture_rows(targets: Sequence[Target], read: Sequence[int] | None = None) -> list[MixtureRow]:
    """The targets of a phase, and what is `read` of each, as rows for people: repeats do not tell rows apart."""
    sums: dict[tuple[str, str, str, str, str], list[int]] = {}
    for number, target in enumerate(targets):
        group = target.group
        row = sums.setdefault((target.budget, group.source, group.kind, group.language, group.length), [0, 0, 0])
        for at, count in enumerate((group.tokens, target.tokens, read[number] if read else 0)):
            row[at] += count
    return [
        MixtureRow(*names, available, planned, found if read else None)
        for names, (available, planned, found) in sums.items()
    ]


def phase_account(
    name: str,
    targets: Sequence[Target],
    member: Integers,
    ids: npt.NDArray[np.bytes_],
    entries: Integers,
    indexes: Iterable[pa.Table],
) -> dict[str, Any]:
    """The account of a phase for the manifest.

    Args:
        name: of the phase.
        targets: of its groups.
        member: the group of every document.
        ids: of the documents.
        entries: the documents in training order, as numbers.
        indexes: of the phase's shards, as they were read back.

    Raises:
        AssertionError: the shards do not hold what was planned.
    """
    read = np.zeros(len(targets), dtype=np.int64)
    start = 0
    for index in indexes:
        documents = entries[start : start + len(index)]
        if not np.array_equal(fixed_width(index["document_id"], ids.dtype.str), ids[documents]):
            raise AssertionError(f"phase {name}: from entry {start} on other documents were written than planned")
        np.add.at(read, member[documents], pc.subtract(index["end"], index["start"]).to_numpy())
        start += len(index)
    if (wrong := np.flatnonzero(read != [target.tokens for target in targets])).size:
        raise AssertionError(f"phase {name}: {read[wrong[0]]} tokens written, but planned was {targets[wrong[0]]}")
    return {
        "phase": name,
        "tokens": int(read.sum()),
        "entries": start,
        "rows": [asdict(row) for row in mixture_rows(targets, read.tolist())],
    }
