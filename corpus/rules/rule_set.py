"""What a rule set is: bounds on measurements, and the documents on which they hold."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from pydantic import model_validator

from castline.recipe import Table


class Bounds(Table):
    """The values of one measurement with which a document is kept; a bound that is not set does not hold.

    In a recipe, `false` instead of a table takes both bounds away.
    """

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Bounds":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"expected min ≤ max, but got min {self.min:g} and max {self.max:g}")
        return self

    def allow(self, value: float | None) -> bool:
        """Whether a document with this value is kept; one that was not measured (None or NaN) is."""
        if value is None:
            return True
        return not (self.min is not None and value < self.min) and not (self.max is not None and value > self.max)


def at_least(value: float) -> Bounds:
    """Keep values of at least `value`."""
    return Bounds(min=value)


def at_most(value: float) -> Bounds:
    """Keep values of at most `value`."""
    return Bounds(max=value)


@dataclass(frozen=True)
class Documents:
    """Documents by kind and language; what is not given does not matter."""

    kinds: Collection[str] = field(default=())
    languages: Collection[str] = field(default=())
    other_languages_than: Collection[str] = field(default=())

    def include(self, kind: str, language: str) -> bool:
        """Whether documents of this kind and language are among them."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.languages or language in self.languages)
            and language not in self.other_languages_than
        )


@dataclass(frozen=True)
class Rule:
    """One bound on one measurement, with the name under which a decision cites it."""

    name: str  # "gopher_quality.words"
    measurement: str  # the column
    bounds: Bounds


class RuleSet(Table):
    """Rules by the name of the measurement they look at; a recipe may change one bound and keep the rest.

    A field of type `Bounds` is a rule. `Annotated[Bounds, Documents(…)]` narrows one rule to some of the documents on
    which its set holds. With `extra="allow"` and `__pydantic_extra__: dict[str, Bounds]`, a recipe may name rules of
    its own (columns whose names are the user's). A set is on where its table is written, unless that says
    `enabled = false`.
    """

    documents: ClassVar[Documents] = Documents()
    optional: ClassVar[bool] = False  # its columns may be missing from a corpus: then it does not hold
    column_prefix: ClassVar[str] = ""  # of the columns, before the names of the rules

    enabled: bool = True

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        merged = {"enabled": True} | {
            name: {} if given is False and name != "enabled" else given for name, given in values.items()
        }
        for name, given in merged.items():
            known = cls.model_fields.get(name)
            if known is not None and isinstance(known.default, Bounds) and given and isinstance(given, dict):
                merged[name] = {**known.default.model_dump(), **given}
        return merged

    def rules(self, kind: str, language: str) -> Iterator[tuple[str, str, Bounds]]:
        """Name, column and bounds of every rule that holds for documents of this kind and language, in order."""
        if not self.enabled or not self.documents.include(kind, language):
            return
        for name, bounds, narrowed in self._bounds:
            if all(documents.include(kind, language) for documents in narrowed):
                yield name, self.column_prefix + name, bounds

    def columns(self) -> list[str]:
        """The columns that the rules look at."""
        return [self.column_prefix + name for name, _, _ in self._bounds]

    @cached_property
    def _bounds(self) -> list[tuple[str, Bounds, list[Documents]]]:
        """Every rule that bounds anything, with the documents that it is narrowed to."""
        found = []
        for name, value in self:
            if isinstance(value, Bounds) and value != Bounds():
                known = type(self).model_fields.get(name)
                narrowed = [item for item in known.metadata if isinstance(item, Documents)] if known else []
                found.append((name, value, narrowed))
        return found
