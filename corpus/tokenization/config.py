"""The recipe table `[tokenizer]`. Light to import: pydantic only."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from castline.recipe import Table

Digits = Literal["single", "groups", "runs"]
DEFAULT_DIGITS: dict[str, Digits] = {"llama3": "groups", "gpt2": "runs"}


class TokenizerConfig(Table):
    """`[tokenizer]`: byte-level BPE trained on the selected documents of the training split, or an existing one.

    Without `vocab_size` it is 32,768, or the largest size that the text supports. Special tokens are counted
    in; the size is rounded up to a multiple of 128 with reserved tokens. `pattern` cuts text into the pieces that
    tokens stay inside; `digits` makes every digit a piece (`single`), up to three (`groups`, llama3 only) or a whole
    number (`runs`, gpt2 only).

    `character_coverage` is the share of all Han characters of the text, and of all others beyond ASCII, that are
    tokens of their own wherever they stand; the default is 0.999, or what fits in a quarter of the vocabulary.

    `path` names a `tokenizer.json` to use instead of training; with a `vocab_size` it is pruned to that size.
    `end_of_text` is the token of it that ends documents, by default its end-of-sentence token.
    """

    vocab_size: int | None = Field(default=None, ge=260, le=1_000_000)
    pattern: Literal["llama3", "gpt2"] = "llama3"
    digits: Digits | None = None  # default: groups for llama3, runs for gpt2
    character_coverage: float | None = Field(default=None, ge=0.9, le=1.0)
    min_frequency: int = Field(default=2, ge=1)
    sample_bytes: int = Field(default=200_000_000, ge=1)
    path: Path | None = None
    end_of_text: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.digits not in (None, "single", DEFAULT_DIGITS[self.pattern]):
            raise ValueError(
                f"expected digits 'single' or '{DEFAULT_DIGITS[self.pattern]}' with the pattern '{self.pattern}' "
                f"(transformers and llama.cpp know no other combinations), but got '{self.digits}'"
            )
        if self.path is None and self.end_of_text is not None:
            raise ValueError("expected end_of_text together with path: a trained tokenizer has <|endoftext|>")
        if self.path is not None:
            defaults = type(self).model_fields
            names = ("pattern", "digits", "character_coverage", "min_frequency")
            training = [name for name in names if getattr(self, name) != defaults[name].default]
            if training:
                raise ValueError(f"expected no {', '.join(training)} beside path: an existing tokenizer is not trained")
        return self
