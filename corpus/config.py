"""The corpus tables of a recipe: sources, rules, duplicates, tokenizer, split and mixture.

A recipe with nothing but `[[sources]]` works: every other table has defaults, which are the published
values of the rules they implement. Light to import: pydantic only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from castline.recipe import Table

MARKUP_LANGUAGES = frozenset({"markdown", "restructuredtext", "tex"})  # prose, whatever the source's kind

Kind = Literal["text", "code", "chat"]
Format = Literal["auto", "txt", "md", "html", "jsonl", "parquet", "code"]


class Source(Table):
    """One `[[sources]]` table: a set of files that share a kind, a language and a weight.

    `path` is a glob, a folder (every file below it) or a file, relative to the recipe. `language` is a code
    such as `en`, `zh` or `fr`; `auto` tells Chinese from everything else, which is then treated as English
    (for code: the programming language, by the file's extension). `weight` says how many times the
    source's tokens are read: 1 once, 2 twice, 0.5 half of them, 0 none. `max_bad` is the largest share of the
    source's records that may be damaged (a broken jsonl line, a truncated file) before the build fails.
    """

    name: str
    path: str = Field(min_length=1)
    kind: Kind = "text"
    language: str = Field(default="auto", pattern=r"^[a-z][a-z0-9+#_-]*$")
    format: Format = "auto"
    text_field: str = ""  # default: "text", or "messages" for kind "chat"
    weight: float = Field(default=1.0, ge=0.0, le=1000.0)
    max_bad: float = Field(default=0.0, ge=0.0, le=1.0)

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
            raise ValueError(
                f"expected a name of at most 64 letters, digits, '.', '_' and '-' (it names a folder), but got {name!r}"
            )
        return name

    @property
    def field(self) -> str:
        """The field that holds the text of a jsonl or parquet record."""
        return self.text_field or ("messages" if self.kind == "chat" else "text")


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

    def allow(self, value: float) -> bool:
        """Whether a document with this value is kept."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


def at_least(value: float) -> Bounds:
    """Keep values of at least `value`."""
    return Bounds(min=value)


def at_most(value: float) -> Bounds:
    """Keep values of at most `value`."""
    return Bounds(max=value)


class RuleSet(Table):
    """Rules by the name of the measurement they look at; a recipe may change one bound and keep the rest."""

    enabled: bool = True

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        merged = dict(values)
        for name, field in cls.model_fields.items():
            given = values.get(name)
            if not isinstance(field.default, Bounds):
                continue
            if given is False:
                merged[name] = {}
            elif isinstance(given, dict):
                merged[name] = {**field.default.model_dump(), **given}
        return merged

    def bounds(self) -> Iterator[tuple[str, Bounds]]:
        """The measurements this set looks at with their bounds, in order."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Bounds) and value != Bounds():
                yield name, value


class GopherQuality(RuleSet):
    """Gopher's quality rules (Rae et al. 2021, appendix A), for text in languages written with spaces.

    `english_stop_words` (of the, be, to, of, and, that, have, with) holds for English only.
    """

    words: Bounds = Bounds(min=50, max=100_000)
    mean_word_length: Bounds = Bounds(min=3, max=10)
    hash_to_word_ratio: Bounds = at_most(0.1)
    ellipsis_to_word_ratio: Bounds = at_most(0.1)
    bullet_line_fraction: Bounds = at_most(0.9)
    ellipsis_line_fraction: Bounds = at_most(0.3)
    alphabetic_word_fraction: Bounds = at_least(0.8)
    english_stop_words: Bounds = at_least(2)


class GopherRepetition(RuleSet):
    """Gopher's repetition rules (Rae et al. 2021, appendix A), for text in any language."""

    duplicate_line_fraction: Bounds = at_most(0.30)
    duplicate_paragraph_fraction: Bounds = at_most(0.30)
    duplicate_line_character_fraction: Bounds = at_most(0.20)
    duplicate_paragraph_character_fraction: Bounds = at_most(0.20)
    top_2_gram_character_fraction: Bounds = at_most(0.20)
    top_3_gram_character_fraction: Bounds = at_most(0.18)
    top_4_gram_character_fraction: Bounds = at_most(0.16)
    duplicate_5_gram_character_fraction: Bounds = at_most(0.15)
    duplicate_6_gram_character_fraction: Bounds = at_most(0.14)
    duplicate_7_gram_character_fraction: Bounds = at_most(0.13)
    duplicate_8_gram_character_fraction: Bounds = at_most(0.12)
    duplicate_9_gram_character_fraction: Bounds = at_most(0.11)
    duplicate_10_gram_character_fraction: Bounds = at_most(0.10)


class ChineseQuality(RuleSet):
    """The counterpart of Gopher's quality rules for Chinese, where a Han character counts as a word.

    Word length means nothing there. Punctuation stands between fewer words, so more of the tokens are marks.
    """

    words: Bounds = Bounds(min=50, max=100_000)
    hash_to_word_ratio: Bounds = at_most(0.1)
    ellipsis_to_word_ratio: Bounds = at_most(0.1)
    bullet_line_fraction: Bounds = at_most(0.9)
    ellipsis_line_fraction: Bounds = at_most(0.3)
    alphabetic_word_fraction: Bounds = at_least(0.7)
    chinese_stop_words: Bounds = at_least(2)


class CodeQuality(RuleSet):
    """File-level rules for code (Kocetkov et al. 2022): minified, generated and data files go.

    The line lengths do not hold for markdown and its like, where a line may be a paragraph.
    """

    characters: Bounds = Bounds(min=50, max=1_000_000)
    mean_line_length: Bounds = at_most(100)
    max_line_length: Bounds = at_most(1000)
    alphanumeric_fraction: Bounds = at_least(0.25)
    autogenerated: Bounds = at_most(0)


@dataclass(frozen=True)
class Rule:
    """One bound on one measurement, with the name under which a decision cites it."""

    name: str  # "gopher_quality.words"
    measurement: str
    bounds: Bounds


class RulesConfig(Table):
    """`[rules.…]`: which documents are good enough, by the source's kind and language."""

    gopher_quality: GopherQuality = GopherQuality()
    gopher_repetition: GopherRepetition = GopherRepetition()
    chinese_quality: ChineseQuality = ChineseQuality()
    code_quality: CodeQuality = CodeQuality()

    def for_documents(self, kind: str, language: str) -> list[Rule]:
        """The rules that hold for documents of this kind and language, in the order they are tried."""
        names = {
            ("code", False): ["code_quality"],
            ("text", True): ["chinese_quality", "gopher_repetition"],
            ("text", False): ["gopher_quality", "gopher_repetition"],
        }.get((kind, kind == "text" and language == "zh"), [])
        return [
            Rule(f"{name}.{measurement}", measurement, bounds)
            for name in names
            if (rules := getattr(self, name)).enabled
            for measurement, bounds in rules.bounds()
            if _applies(measurement, language)
        ]


def _applies(measurement: str, language: str) -> bool:
    if measurement == "english_stop_words":
        return language == "en"
    if measurement.endswith("_line_length"):
        return language not in MARKUP_LANGUAGES
    return True


class DedupConfig(Table):
    """`[dedup]`: documents that are the same, or nearly (MinHash with every candidate pair verified).

    Near duplicates have a Jaccard similarity of at least `threshold` between their sets of five-word
    shingles; `recall` is the share of pairs right at the threshold that hashing has to find. Of a cluster,
    one document stays among those that pass the rules: the `longest`, or the `first` read.
    """

    exact: bool = True
    near: bool = True
    permutations: int = Field(default=128, ge=16, le=1024)
    threshold: float = Field(default=0.7, gt=0.0, le=1.0)
    recall: float = Field(default=0.98, gt=0.0, lt=1.0)
    keep: Literal["longest", "first"] = "longest"


class TokenizerConfig(Table):
    """`[tokenizer]`: byte-level BPE trained on the kept documents of the training split.

    Without `vocab_size` it is 32,768, or the largest size that the text supports. Special tokens are counted
    in; the size is rounded up to a multiple of 128 with reserved tokens.
    """

    vocab_size: int | None = Field(default=None, ge=260, le=1_000_000)
    pattern: Literal["llama3", "gpt2"] = "llama3"
    min_frequency: int = Field(default=2, ge=1)
    sample_bytes: int = Field(default=200_000_000, ge=1)


class SplitConfig(Table):
    """`[split]`: the share of duplicate clusters, per source, held out for evaluation; at least one each."""

    held_out: float = Field(default=0.01, ge=0.0, lt=1.0)


class MixConfig(Table):
    """`[mix]`: the training order. `tokens` scales all sources to an exact total; their weights stay."""

    tokens: int | None = Field(default=None, ge=1)
    shard_tokens: int = Field(default=64 * 1024 * 1024, ge=1024)


class CorpusConfig(Table):
    """Everything that decides what a corpus holds."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    sources: tuple[Source, ...]
    rules: RulesConfig = RulesConfig()
    dedup: DedupConfig = DedupConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    split: SplitConfig = SplitConfig()
    mix: MixConfig = MixConfig()

    @field_validator("sources")
    @classmethod
    def _are_told_apart(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if not sources:
            raise ValueError("expected at least one [[sources]] table, but got none")
        names = [source.name for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected each source to have a name of its own, but got {name!r} twice")
        return sources
