"""The counterparts of the rules for text in Chinese, which is written without spaces."""

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most


class ChineseQuality(RuleSet):
    """The counterpart of Gopher's quality rules for Chinese, where a Han character counts as a word.

    Word length means nothing there. Punctuation stands between fewer words, so more of the tokens are marks.
    """

    documents = Documents(kinds={"text"}, languages={"zh"})

    words: Bounds = Bounds(min=50, max=100_000)
    hash_to_word_ratio: Bounds = at_most(0.1)
    ellipsis_to_word_ratio: Bounds = at_most(0.1)
    bullet_line_fraction: Bounds = at_most(0.9)
    ellipsis_line_fraction: Bounds = at_most(0.3)
    alphabetic_word_fraction: Bounds = at_least(0.7)
    chinese_stop_words: Bounds = at_least(2)
