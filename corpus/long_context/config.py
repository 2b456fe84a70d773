"""The recipe table `[long_context]`. Light to import: pydantic only."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most
from castline.recipe import Table


class LongContextRules(RuleSet):
    """With which measurements a long document is chosen.

    `connective_fraction`: of the words, those that tie sentences together (however, 因此, …); a text without any
    is a list. `numeric_word_fraction`: of the words, numbers. `context_gain`: nats per token by which a segment
    makes the next one more predictable.
    """

    connective_fraction: Annotated[Bounds, Documents(kinds={"text"}, languages={"en", "zh"})] = at_least(0.003)
    numeric_word_fraction: Annotated[Bounds, Documents(kinds={"text"})] = at_most(0.2)
    context_gain: Bounds = at_least(0.0)


class LongContextConfig(Table):
    """`[long_context]`: documents of at least `min_bytes` are long, and chosen where they pass the `rules`.

    `[long_context.sources.NAME]` changes bounds for one source. `scorer` measures `context_gain`: "ngram" is a trigram
    model trained on other documents of the corpus, a path names a castline package. Of every document at most
    `segment_pairs` pairs of neighbouring segments of `segment_tokens` tokens are scored.
    """

    min_bytes: int = Field(default=32 * 1024, ge=1)
    scorer: Literal["ngram"] | Path = "ngram"
    segment_tokens: int = Field(default=1024, ge=8)
    segment_pairs: int = Field(default=8, ge=1)
    rules: LongContextRules = LongContextRules()
    sources: dict[str, LongContextRules] = Field(default={})

    def rules_for(self, source: str) -> LongContextRules:
        """The rules with what the source changes."""
        own = self.sources.get(source, LongContextRules())
        return self.rules.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
