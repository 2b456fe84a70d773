"""The texts that a tokenizer is trained, pruned and measured on: a share of the training documents, chosen by id."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from castline.corpus.measure import Part
from castline.corpus.selected import selected_documents, selected_table
from castline.corpus.special_tokens import SPECIAL_TOKENS
from castline.corpus.split import TRAIN
from castline.corpus.tables import few_strings
from castline.corpus.tokenization.characters import CODE_POINTS, Counts, add_sparse, count_characters, sparse
from castline.corpus.workers import Workers

_Job = tuple[Path, Part, float]  # the corpus directory, a part, and the share of it that is in the sample
_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))


@dataclass(frozen=True)
class Sample:
    """About `size` bytes of the training split of the decided corpus in `out`; the same ones every time."""

    out: Path
    parts: list[Part]
    share: float
    size: int

    @classmethod
    def of(cls, out: Path, parts: list[Part], limit: int) -> "Sample":
        """All training documents, or the share of them that holds about `limit` bytes."""
        total = 0
        for part in parts:
            table = selected_table(out, part, ["bytes", "split"])
            total += int(table["bytes"].to_numpy()[few_strings(table["split"]) == TRAIN].sum())
        share, size = (1.0, total) if total <= limit else (limit / total, limit)
        return cls(out, parts, share, size)

    def texts(self) -> Iterator[str]:
        """The texts in order; a chat without its markers, in pieces."""
        for part in self.parts:
            yield from _texts((self.out, part, self.share))

    def count_characters(self, workers: Workers) -> Counts:
        """How often each code point beyond ASCII occurs in the sample: shape [0x110000]."""
        counts = np.zeros(CODE_POINTS, np.int64)
        for _, found in workers.run(_count, [(self.out, part, self.share) for part in self.parts]):
            add_sparse(counts, found)
        return counts


def _texts(job: _Job) -> Iterator[str]:
    out, part, share = job
    for document in selected_documents(out, part, TRAIN):
        if int(document.id[:13], 16) >= share * 16**13:
            continue
        if document.kind == "chat":
            yield from _SPECIAL.split(document.text)
        else:
            yield document.text


def _count(job: _Job) -> Counts:
    return sparse(count_characters(_texts(job)))
