"""The plan of a phase: documents in groups that it treats alike, and how many tokens of each group are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from castline.corpus.mixing.apportion import apportion
from castline.corpus.mixing.config import Budget, Phase
from castline.errors import RecipeError

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]

REST = "rest"
LENGTHS = ("short", "long", "other")  # other: long, and not chosen for long contexts


@dataclass(frozen=True)
class Pool:
    """The documents to train on: one entry each in all arrays, in reading order."""

    sources: tuple[str, ...]
    kinds: tuple[str, ...]  # of the sources
    languages: tuple[str, ...]
    source: Numbers  # as the number of the source
    language: Numbers  # as the number of the language
    tokens: Integers  # the end-of-text token included
    repeats: Numbers  # how often one pass over the source reads it
    long_context: npt.NDArray[np.bool_]  # whether it is good to train long contexts on, if it is long

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.tokens)


@dataclass(frozen=True)
class Group:
    """Documents that a phase treats alike, and their tokens, each document once."""

    source: str
    kind: str
    language: str
    length: str  # of LENGTHS, in a phase that tells them apart; else empty
    repeats: int
    tokens: int
    room: int | None = None  # tokens that may still be read of them, after earlier phases; None: any number


@dataclass(frozen=True)
class Target:
    """How many tokens of a group are read, and for which budget ("rest": for none)."""

    group: Group
    budget: str
    tokens: int


def group_documents(pool: Pool, phase: Phase, read: Integers, max_repeats: int | None) -> tuple[list[Group], Integers]:
    """The groups of a phase, and the group of every document.

    Args:
        pool: the documents.
        phase: of the resolved recipe.
        read: how often earlier phases read every document.
        max_repeats: how often all phases together may, if that is bounded.
    """
    length = np.where(pool.tokens <= phase.short_tokens, 0, np.where(pool.long_context, 1, 2))
    if not phase.tells_lengths:
        length = np.zeros(len(pool), dtype=np.int64)
    # one number per document that says all four, of few that can be: sorting rows of four takes many times the memory
    shape = (len(pool.sources), len(pool.languages), len(LENGTHS), int(pool.repeats.max(initial=0)) + 1)
    code = np.ravel_multi_index((pool.source, pool.language, length, pool.repeats), shape)
    alike = np.flatnonzero(np.bincount(code))
    member = np.searchsorted(alike, code)
    tokens = np.zeros(len(alike), dtype=np.int64)
    np.add.at(tokens, member, pool.tokens)
    room = np.zeros(len(alike), dtype=np.int64)
    if max_repeats is not None:
        np.add.at(room, member, pool.tokens * np.maximum(max_repeats - read, 0))
    columns = (column.tolist() for column in np.unravel_index(alike, shape))
    groups = [
        Group(
            pool.sources[source],
            pool.kinds[source],
            pool.languages[language],
            LENGTHS[length] if phase.tells_lengths else "",
            repeats,
            total,
            None if max_repeats is None else more,
        )
        for source, language, length, repeats, total, more in zip(*columns, tokens.tolist(), room.tolist(), strict=True)
    ]
    return groups, member


def plan_phase(phase: Phase, groups: Sequence[Group], weights: dict[str, float]) -> list[Target]:
    """Give every group its tokens; they sum to the phase's exactly.

    Args:
        phase: of the resolved recipe.
        groups: what there is to read.
        weights: of every source, as its own table says.

    Returns:
        A target for every group, in order.

    Raises:
        RecipeError: a budget asks for documents that are not there, or for more tokens than `max_repeats` lets in.
    """
    weights = {**weights, **phase.weights}
    owner = [_first_budget(phase.budgets, group) for group in groups]
    tokens = [0] * len(groups)
    for budget, total in enumerate(_totals(phase, groups, weights)):
        mine = [number for number, other in enumerate(owner) if other == budget]
        masses = [_mass(groups[number], weights) for number in mine]
        parts = apportion(total, masses, [_cap(phase, groups[number]) for number in mine])
        if parts is None:
            raise RecipeError(_shortage(phase, budget, total, [groups[number] for number in mine], masses))
        for number, part in zip(mine, parts, strict=True):
            tokens[number] = part
    if not sum(tokens):
        raise RecipeError(
            f"mix phase '{phase.name}': expected tokens to train on, but every source has weight 0 or no documents left"
        )
    labels = [*(budget.label for budget in phase.budgets), REST]
    return [Target(group, labels[at], part) for group, at, part in zip(groups, owner, tokens, strict=True)]


def _first_budget(budgets: Sequence[Budget], group: Group) -> int:
    """The number of the first budget that includes the group; their number where none does."""
    for number, budget in enumerate(budgets):
        wanted = (budget.source, budget.kind, budget.language, budget.length)
        found = (group.source, group.kind, group.language, group.length)
        if all(want in (None, have) for want, have in zip(wanted, found, strict=True)):
            return number
    return len(budgets)


def _totals(phase: Phase, groups: Sequence[Group], weights: dict[str, float]) -> list[int]:
    """The tokens of every budget, and last what documents of none get."""
    if phase.tokens is not None:
        return [*phase.budget_tokens, phase.tokens - sum(phase.budget_tokens)]
    if phase.budgets:
        return [*phase.budget_tokens, 0]
    whole = Fraction(0)
    for group in groups:
        cap = _cap(phase, group)
        whole += _mass(group, weights) if cap is None else min(_mass(group, weights), Fraction(cap))
    return [round(whole)]


def _mass(group: Group, weights: dict[str, float]) -> Fraction:
    """What a group counts for when tokens are divided: its tokens in as many passes as its weight says."""
    return group.tokens * group.repeats * Fraction(weights[group.source])


def _cap(phase: Phase, group: Group) -> int | None:
    bounds = [] if phase.max_repeats is None else [phase.max_repeats * group.tokens]
    return min(bounds + ([] if group.room is None else [group.room]), default=None)


def _shortage(phase: Phase, budget: int, total: int, groups: list[Group], masses: list[Fraction]) -> str:
    labels = [f"of '{one.label}'" for one in phase.budgets]
    what = labels[budget] if budget < len(labels) else "of the documents that no budget is for"
    usable = [group for group, mass in zip(groups, masses, strict=True) if mass]
    there = sum(group.tokens for group in usable)
    if there:
        let_in = sum(_cap(phase, group) or 0 for group in usable)
        earlier = " after what earlier phases read" if let_in < (phase.max_repeats or 0) * there else ""
        why = (
            f"there are {there:,}, and max_repeats = {phase.max_repeats} lets in {let_in:,}{earlier}; "
            "lower the tokens or the share, raise max_repeats, or add text"
        )
    else:
        why = (
            "there are no such documents, earlier budgets include them, or their sources have weight 0; "
            "change the budgets, or add text"
        )
    return f"mix phase '{phase.name}': expected {total:,} tokens {what}, but {why}"
