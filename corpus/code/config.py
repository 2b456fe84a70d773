"""`[code]`, how often code is read by its quality, and `[repositories]`, how its files become documents."""

from typing import Literal

from pydantic import Field, model_validator

from castline.recipe import Table

# What is one repository of a code source: nothing (files stay files), each file, each folder at its top, all of it.
Repository = Literal["none", "file", "folder", "source"]


class CodeConfig(Table):
    """`[code]`: the quality classes of code, by a `score` that was measured.

    A document with at least `high` is read `high_repeats` times per pass over its source, one with less than `low` is
    dropped, all others are read once. Languages with less than a share of `rare` of all code (in bytes) are not
    dropped. A document without a score (a language whose comments are not known) is in between. `score` may be any
    measurement, such as that of a classifier of one's own.
    """

    score: str = "code_score"
    high: float = 0.75
    low: float = 0.2
    high_repeats: int = Field(default=2, ge=1, le=100)
    rare: float = Field(default=0.01, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _in_order(self) -> "CodeConfig":
        if self.low > self.high:
            raise ValueError(f"expected low ≤ high, but got low {self.low:g} and high {self.high:g}")
        return self


class RepositoriesConfig(Table):
    """`[repositories]`: how long the documents are that repositories are packed into.

    Repositories are packed before there is a tokenizer, so the budget of `tokens` is counted in bytes:
    `bytes_per_token` of them each.
    """

    tokens: int = Field(default=32_768, ge=16)
    bytes_per_token: float = Field(default=3.0, gt=0.0, le=100.0)

    @property
    def budget(self) -> int:
        """The bytes of a packed document, unless a single file is longer."""
        return int(self.tokens * self.bytes_per_token)
