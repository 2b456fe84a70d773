"""InternLM2's heuristics: abnormal line breaks and separators, character frequencies, distribution of punctuation.

The report (arXiv 2403.17297, section 3.1) names what they look at and gives neither definitions nor cut-offs: both are
ours (definitions in csrc/text/measure.hpp). The cut-offs were chosen on English and Chinese documentation, licences,
web text, newspaper articles and reviews, so that each takes what is plainly broken and at most 1% of those texts.
"""

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most


class TextForm(RuleSet):
    """What extraction and encoding break, in any language.

    A bound that is not set by default (`broken_line_fraction`: hard-wrapped text is broken into lines and fine;
    `repeated_mark_fraction`) is there for recipes to set.
    """

    documents = Documents(kinds={"text"})

    abnormal_character_fraction: Bounds = at_most(0.01)
    top_character_fraction: Bounds = at_most(0.4)
    character_diversity: Bounds = at_least(5)
    broken_line_fraction: Bounds = Bounds()
    narrow_broken_line_fraction: Bounds = at_most(0.7)
    hyphenated_line_fraction: Bounds = at_most(0.1)
    blank_line_fraction: Bounds = at_most(0.6)
    separator_line_fraction: Bounds = at_most(0.5)
    separator_character_fraction: Bounds = at_most(0.05)
    punctuation_to_word_ratio: Bounds = at_most(3)
    repeated_mark_fraction: Bounds = Bounds()
    exclamation_to_sentence_ratio: Bounds = at_most(3)
    words_per_sentence: Bounds = at_most(250)
