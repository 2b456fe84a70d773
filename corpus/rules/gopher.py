"""Gopher's rules (Rae et al. 2021, arXiv 2112.11446, appendix A)."""

from typing import Annotated

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most


class GopherQuality(RuleSet):
    """Gopher's quality rules, for text in languages written with spaces.

    `english_stop_words` (of the, be, to, of, and, that, have, with) holds for English only.
    """

    documents = Documents(kinds={"text"}, other_languages_than={"zh"})

    words: Bounds = Bounds(min=50, max=100_000)
    mean_word_length: Bounds = Bounds(min=3, max=10)
    hash_to_word_ratio: Bounds = at_most(0.1)
    ellipsis_to_word_ratio: Bounds = at_most(0.1)
    bullet_line_fraction: Bounds = at_most(0.9)
    ellipsis_line_fraction: Bounds = at_most(0.3)
    alphabetic_word_fraction: Bounds = at_least(0.8)
    english_stop_words: Annotated[Bounds, Documents(languages={"en"})] = at_least(2)


class GopherRepetition(RuleSet):
    """Gopher's repetition rules, for text in any language."""

    documents = Documents(kinds={"text"})

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
