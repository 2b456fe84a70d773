"""The plan of a mixture before a build, from a sample of every source. No rule has dropped a document yet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from castline.corpus.mixing.account import MixtureRow, mixture_rows
from castline.corpus.mixing.config import Phase
from castline.corpus.mixing.phases import LENGTHS, Group, plan_phase
from castline.errors import RecipeError


@dataclass(frozen=True)
class SourceSample:
    """Documents of a source that were looked at, as (language, tokens), and how many times as much there is."""

    source: str
    kind: str
    documents: list[tuple[str, int]]
    scale: float


@dataclass(frozen=True)
class PhaseEstimate:
    """What a phase would read of what there is, or the `problem` that keeps it from being planned."""

    name: str
    tokens: int
    rows: list[MixtureRow]
    problem: str


def estimate_phase(phase: Phase, samples: Sequence[SourceSample], weights: dict[str, float]) -> PhaseEstimate:
    """Plan a phase from samples.

    Args:
        phase: of the resolved recipe.
        samples: of the sources, in order.
        weights: of every source, as its own table says.
    """
    groups = []
    for sample in samples:
        sums: Counter[tuple[str, str]] = Counter()
        for language, tokens in sample.documents:
            length = LENGTHS[tokens > phase.short_tokens] if phase.tells_lengths else ""
            sums[language, length] += tokens
        groups += [
            Group(sample.source, sample.kind, language, length, 1, round(total * sample.scale))
            for (language, length), total in sorted(sums.items())
        ]
    try:
        targets = plan_phase(phase, [group for group in groups if group.tokens], weights)
    except RecipeError as error:
        return PhaseEstimate(phase.name, phase.tokens or sum(phase.budget_tokens), [], str(error))
    return PhaseEstimate(phase.name, sum(target.tokens for target in targets), mixture_rows(targets), "")
