"""The `[dedup]` table of a recipe. Light to import: pydantic only."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from castline.recipe import Table

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class DedupConfig(Table):
    """`[dedup]`: documents that are the same, or nearly (MinHash with every candidate pair verified).

    Near duplicates have a Jaccard similarity of at least `threshold` between their sets of five-word
    shingles; `recall` is the share of pairs right at the threshold that hashing has to find. Of a cluster, one
    document stays among those that pass the rules: the `longest`, the `newest` by date, the `best` in the
    measurement `best_by` (the highest), or the `first` read. Equals: the longest, then the first.

    `against` names finished corpora, relative to the recipe: what duplicates a document of theirs goes. `memory` bounds
    the search ("500MB", "4GB"); the result is the same with any.
    """

    exact: bool = True
    near: bool = True
    permutations: int = Field(default=128, ge=16, le=1024)
    threshold: float = Field(default=0.7, gt=0.0, le=1.0)
    recall: float = Field(default=0.98, gt=0.0, lt=1.0)
    keep: Literal["longest", "newest", "best", "first"] = "longest"
    best_by: str = ""
    against: tuple[str, ...] = ()
    memory: str = "1GB"

    @field_validator("against", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("memory")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        if not re.fullmatch(rf"[1-9][0-9]*({'|'.join(_UNITS)})", value):
            raise ValueError(f'expected a size such as "500MB" or "4GB", but got {value!r}')
        return value

    @model_validator(mode="after")
    def _names_what_is_best(self) -> "DedupConfig":
        if self.keep == "best" and not self.best_by:
            raise ValueError('keep = "best": expected best_by, the measurement that says which is best, but got none')
        if self.keep != "best" and self.best_by:
            raise ValueError(f'best_by holds for keep = "best" only, but got keep = "{self.keep}"')
        return self

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        return int(self.memory[:-2]) * _UNITS[self.memory[-2:]]
