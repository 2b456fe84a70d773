"""The corpus tables of a recipe: sources, rules, duplicates, tokenizer, split and mixture.

A recipe with nothing but `[[sources]]` works: every other table has defaults, which are the published
values of the rules they implement. Light to import: pydantic only.
"""

import codecs
import difflib
import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from castline.corpus.annotate.config import (
    ClassifierConfig,
    DecontaminateConfig,
    LanguageConfig,
    PrivacyConfig,
    SafetyConfig,
)
from castline.corpus.code.config import CodeConfig, RepositoriesConfig, Repository
from castline.corpus.duplicates.config import DedupConfig
from castline.corpus.long_context.config import LongContextConfig
from castline.corpus.mixing.config import MixConfig
from castline.corpus.rules.config import RulesConfig
from castline.corpus.tokenization.config import TokenizerConfig
from castline.recipe import Table

Kind = Literal["text", "code", "chat"]
Format = Literal["auto", "txt", "md", "html", "jsonl", "parquet", "warc", "code", "git"]


class Source(Table):
    """One `[[sources]]` table: a set of files that share a kind, a language and a weight.

    `path` is a glob, a folder (every file below it) or a file, relative to the recipe. `language` is a code
    such as `en`, `zh` or `fr`; `auto` detects it document by document (`[language]`; for code: the programming
    language, by the file's extension); `languages` lists the detected languages that are kept, where not all are.
    `weight` says how many times the source's tokens are read: 1 once, 2 twice, 0.5 half of them, 0 none. `max_bad` is
    the largest share of the source's records that may be damaged (a broken jsonl line, a truncated file) before the
    build fails.
    `repository` says what is packed into one document of a code source, in the order of its imports: the files of
    each `folder` at the top of the source, or of the whole `source`; with `file` every file becomes markdown alone.
    Of jsonl and parquet, `…_field` names the field that holds what it says; `language_field` counts where
    `language` is auto.
    """

    name: str
    path: str = Field(min_length=1)
    kind: Kind = "text"
    language: str = Field(default="auto", pattern=r"^[a-z][a-z0-9+#_-]*$")
    languages: tuple[str, ...] = ()
    format: Format = "auto"
    text_field: str = ""  # default: "text", or "messages" for kind "chat"
    id_field: str = ""  # of records, by default: "id",
    url_field: str = ""  # "url",
    date_field: str = ""  # "date" or "timestamp",
    licence_field: str = ""  # "licence" or "license",
    language_field: str = ""  # none
    encoding: str = "auto"  # of all but parquet; of jsonl auto means UTF-8
    vendored: bool = False  # of kind code: also what lies in folders such as node_modules and third_party
    max_record_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, le=2**31)  # a larger record is rejected
    max_expansion: float = Field(default=250.0, ge=1.0)  # unpacked to packed bytes, beyond 64 MiB
    licence: str = ""  # of all that is in the source, where a record does not name its own
    repository: Repository = "none"
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

    @model_validator(mode="after")
    def _repositories_are_code(self) -> "Source":
        if self.repository != "none" and self.kind != "code":
            raise ValueError(f'expected kind "code" of a source with repositories, but got "{self.kind}"')
        return self

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding(cls, encoding: str) -> str:
        try:
            known = encoding == "auto" or codecs.lookup(encoding)._is_text_encoding
        except LookupError:
            known = False
        if not known:
            raise ValueError(f"expected auto or an encoding such as gb18030 or windows-1252, but got {encoding!r}")
        return encoding

    @property
    def field(self) -> str:
        """The field that holds the text of a jsonl or parquet record."""
        return self.text_field or ("messages" if self.kind == "chat" else "text")


class SplitConfig(Table):
    """`[split]`: the share of duplicate clusters, per source, held out for evaluation; at least one each."""

    held_out: float = Field(default=0.01, ge=0.0, lt=1.0)


class CorpusConfig(Table):
    """Everything that decides what a corpus holds."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    sources: tuple[Source, ...]
    language: LanguageConfig = LanguageConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    safety: SafetyConfig = SafetyConfig()
    classifiers: tuple[ClassifierConfig, ...] = ()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    rules: RulesConfig = RulesConfig()
    dedup: DedupConfig = DedupConfig()
    code: CodeConfig = CodeConfig()
    repositories: RepositoriesConfig = RepositoriesConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    split: SplitConfig = SplitConfig()
    long_context: LongContextConfig | None = None
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

    @field_validator("classifiers")
    @classmethod
    def _have_names_of_their_own(cls, classifiers: tuple[ClassifierConfig, ...]) -> tuple[ClassifierConfig, ...]:
        names = [classifier.name for classifier in classifiers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected each classifier to have a name of its own, but got {name!r} twice")
        return classifiers

    @model_validator(mode="after")
    def _bound_classifiers_that_are_there(self) -> "CorpusConfig":
        names = [classifier.name for classifier in self.classifiers]
        for name in self.rules.classifiers.model_extra or {}:
            if name not in names:
                known = ", ".join(names) or "no [[classifiers]] table"
                raise ValueError(f"rules.classifiers.{name}: expected the name of a classifier ({known})")
        return self

    @model_validator(mode="after")
    def _names_its_sources(self) -> "CorpusConfig":
        names = [source.name for source in self.sources]
        named = [(f"mix phase '{phase}'", name) for phase, name in self.mix.unknown_sources(names)]
        own = self.long_context.sources if self.long_context else {}
        named += [("long_context.sources", name) for name in own if name not in names]
        for where, name in named:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"sources are {', '.join(names)}"
            raise ValueError(f"expected {where} to name sources of the recipe, but got '{name}'; {hint}")
        return self
