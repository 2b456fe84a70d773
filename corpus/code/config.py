"""`[repositories]`: how the files of a code source become documents."""

from typing import Literal

from pydantic import Field

from castline.recipe import Table

# What is one repository of a code source: nothing (files stay files), each file, each folder at its top, all of it.
Repository = Literal["none", "file", "folder", "source"]


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
