"""What a document was found to be the same as, and how that leads to the one that stays."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from castline.corpus.duplicates import PAIRS
from castline.corpus.tables import read_table


@dataclass(frozen=True)
class Match:
    """A document that another one is (nearly) the same as; `corpus` is the earlier one it belongs to, if any."""

    id: str
    similarity: float
    corpus: str = ""


class Matches:
    """The verified pairs of one cluster."""

    def __init__(self, out: Path, members: list[str]) -> None:
        """`members` are the ids of all documents of `out` in the cluster."""
        table = read_table(out / PAIRS)
        chosen = pc.is_in(table["second"], value_set=pc.cast(members, table["second"].type))
        self._of: dict[str, list[Match]] = defaultdict(list)
        for pair in table.filter(chosen).to_pylist():
            first, second, similarity = pair["first"], pair["second"], pair["similarity"]
            self._of[second].append(Match(first, similarity, pair["first_corpus"]))
            if not pair["first_corpus"]:
                self._of[first].append(Match(second, similarity))
        for found in self._of.values():
            found.sort(key=lambda match: (-match.similarity, match.id))

    def of(self, document: str) -> list[Match]:
        """The matches of a document of this corpus, the most similar first."""
        return self._of.get(document, [])

    def chain(self, document: str, kept: str, *, earlier: bool) -> list[Match]:
        """The fewest steps from a document to the one that was kept, each similar to the one before.

        Where that one is of an earlier corpus, they end at any document there that is in the same cluster. No
        steps where they lead through an earlier corpus and back.
        """
        came: dict[str, tuple[str, Match] | None] = {document: None}
        front = [document]
        for here in front:
            for match in self.of(here):
                if bool(match.corpus) == earlier and (earlier or match.id == kept):
                    return [*self._steps(came, here), match]
                if not match.corpus and match.id not in came:
                    came[match.id] = (here, match)
                    front.append(match.id)
        return []

    def _steps(self, came: dict[str, tuple[str, Match] | None], end: str) -> list[Match]:
        steps: list[Match] = []
        while (step := came[end]) is not None:
            end, match = step
            steps.append(match)
        return steps[::-1]
