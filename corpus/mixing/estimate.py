"""The plan of a mixture before a build, from a sample of every source. No rule has dropped a document yet."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from castline.corpus.mixing.account import MixtureRow, mixture_rows
from castline.corpus.mixing.config import MixConfig, Phase
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


def estimate_phases(mix: MixConfig, samples: Sequence[SourceSample], weights: dict[str, float]) -> list[PhaseEstimate]:
    """Plan all phases from samples; what a phase reads of a source and language counts against `mix.max_repeats`.

    Args:
        mix: the recipe's table.
        samples: of the sources, in order.
        weights: of every source, as its own table says.
    """
    read: Counter[tuple[str, str]] = Counter()
    estimates = []
    for phase in mix.resolved():
        estimate = _estimate_phase(phase, _groups(phase, samples, read, mix.max_repeats), weights)
        for row in estimate.rows:
            read[row.source, row.language] += row.planned
        estimates.append(estimate)
    return estimates


def _groups(
    phase: Phase, samples: Sequence[SourceSample], read: Mapping[tuple[str, str], int], max_repeats: int | None
) -> list[Group]:
    groups = []
    for sample in samples:
        sums: Counter[tuple[str, str]] = Counter()
        whole: Counter[str] = Counter()
        for language, tokens in sample.documents:
            length = LENGTHS[tokens > phase.short_tokens] if phase.tells_lengths else ""
            sums[language, length] += tokens
            whole[language] += tokens
        for (language, length), total in sorted(sums.items()):
            tokens, room = round(total * sample.scale), None
            if max_repeats is not None:
                before = round(read[sample.source, language] * total / whole[language])
                room = max(max_repeats * tokens - before, 0)
            groups.append(Group(sample.source, sample.kind, language, length, 1, tokens, room))
    return [group for group in groups if group.tokens]


def _estimate_phase(phase: Phase, groups: list[Group], weights: dict[str, float]) -> PhaseEstimate:
    try:
        targets = plan_phase(phase, groups, weights)
    except RecipeError as error:
        return PhaseEstimate(phase.name, phase.tokens or sum(phase.budget_tokens), [], str(error))
    return PhaseEstimate(phase.name, sum(target.tokens for target in targets), mixture_rows(targets), "")
