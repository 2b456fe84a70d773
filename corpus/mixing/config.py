"""The recipe table `[mix]`. Light to import: pydantic only."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from castline.recipe import Table

Weight = Annotated[float, Field(ge=0.0, le=1000.0)]
Length = Literal["short", "long"]


class Budget(Table):
    """Tokens of a phase for the documents of a source, kind, language or length: `tokens`, or a `share` of them."""

    source: str | None = None
    kind: Literal["text", "code", "chat"] | None = None
    language: str | None = None
    length: Length | None = None
    tokens: int | None = Field(default=None, ge=0)
    share: float | None = Field(default=None, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _says_of_what_and_how_much(self) -> Self:
        if not self.label:
            raise ValueError("expected a source, kind, language or length that the budget is for, but got none")
        if (self.tokens is None) == (self.share is None):
            found = "neither" if self.tokens is None else "both"
            raise ValueError(f"expected either tokens or share for the budget '{self.label}', but got {found}")
        return self

    @property
    def label(self) -> str:
        """What it is for: "long code"."""
        return " ".join(name for name in (self.length, self.source, self.kind, self.language) if name)


class Phase(Table):
    """One phase of training, with shards of its own.

    A document counts for the first of the `budgets` that includes it; what these leave of `tokens` goes to all others.
    Within a budget, sources are read in proportion to their tokens times their weights: those of `weights`,
    else the source's own. Without `tokens` and budgets, a weight is the number of passes over a source.

    The phase reads no document more than `max_repeats` times. Documents of at most `short_tokens` tokens are short,
    longer ones are long.
    """

    name: str
    tokens: int | None = Field(default=None, ge=1)
    weights: dict[str, Weight] = Field(default={})
    budgets: tuple[Budget, ...] = ()
    max_repeats: int | None = Field(default=None, ge=1)
    short_tokens: int = Field(default=4096, ge=1)

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or name in ("held_out", "manifest.json"):
            raise ValueError(
                "expected a name of at most 64 letters, digits, '.', '_' and '-' (it names a folder of shards) other "
                f"than 'held_out', but got {name!r}"
            )
        return name

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        shares = sum(budget.share or 0.0 for budget in self.budgets)
        if self.tokens is None and shares:
            raise ValueError(
                f"expected the tokens of phase '{self.name}', of which its budgets take shares, but got none"
            )
        if shares > 1.0 + 1e-9:
            raise ValueError(
                f"expected shares that sum to at most 1 in phase '{self.name}', but they sum to {shares:g}"
            )
        if self.tokens is not None and sum(self.budget_tokens) > self.tokens:
            raise ValueError(
                f"expected budgets of at most {self.tokens:,} tokens, the size of phase '{self.name}', but they sum to "
                f"{sum(self.budget_tokens):,}"
            )
        return self

    @property
    def budget_tokens(self) -> list[int]:
        """The tokens of every budget. Shares that sum to 1 sum to all tokens."""
        result, share = [], 0.0
        for budget in self.budgets:
            if budget.share is None:
                result.append(budget.tokens or 0)
            else:
                begin, share = share, share + budget.share
                result.append(round(share * (self.tokens or 0)) - round(begin * (self.tokens or 0)))
        return result

    @property
    def tells_lengths(self) -> bool:
        """Whether a budget is for short or long documents."""
        return any(budget.length for budget in self.budgets)


class MixConfig(Table):
    """`[mix]`: the training order. Without `[[mix.phases]]` there is one phase, `train`, of all sources.

    `tokens` scales the sources of that one to an exact total; their weights stay. All phases together read no document
    more than `max_repeats` times: what an earlier phase read counts, since the same model reads it again.
    """

    tokens: int | None = Field(default=None, ge=1)
    max_repeats: int | None = Field(default=None, ge=1)
    shard_tokens: int = Field(default=64 * 1024 * 1024, ge=1024)
    phases: tuple[Phase, ...] = ()

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        names = [phase.name for phase in self.phases]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected each phase to have a name of its own, but got {name!r} twice")
        if self.phases and self.tokens is not None:
            raise ValueError("expected tokens in each of the phases, but got them in [mix] beside phases")
        return self

    def resolved(self) -> list[Phase]:
        """The phases, in order, each with the `max_repeats` that holds for it alone."""
        phases = self.phases or (Phase(name="train", tokens=self.tokens),)
        return [phase.model_copy(update={"max_repeats": phase.max_repeats or self.max_repeats}) for phase in phases]

    def unknown_sources(self, known: list[str]) -> list[tuple[str, str]]:
        """The phases and sources, where a phase names a source that is not `known`."""
        return [
            (phase.name, source)
            for phase in self.phases
            for source in (*phase.weights, *(budget.source for budget in phase.budgets if budget.source))
            if source not in known
        ]
