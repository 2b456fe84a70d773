"""The counterparts of the other rules for text in Chinese, which is written without spaces.

A word is a Han character there (or a word in another script). One English word is about 1.7 Han characters, and a
Han character takes two columns.
"""

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most

CHINESE_TEXT = Documents(kinds={"text"}, languages={"zh"})


class ChineseQuality(RuleSet):
    """The counterpart of Gopher's quality rules.

    Word length means nothing here. Punctuation stands between fewer words, so more of the tokens are marks. Stop
    words are the most frequent function words of one character: 的 一 是 不 了 在 有 这.
    """

    documents = CHINESE_TEXT

    words: Bounds = Bounds(min=50, max=100_000)
    hash_to_word_ratio: Bounds = at_most(0.1)
    ellipsis_to_word_ratio: Bounds = at_most(0.1)
    bullet_line_fraction: Bounds = at_most(0.9)
    ellipsis_line_fraction: Bounds = at_most(0.3)
    alphabetic_token_fraction: Bounds = at_least(0.7)
    chinese_stop_words: Bounds = at_least(2)


class ChineseWeb(RuleSet):
    """The counterpart of C4's and FineWeb's rules; the cut-offs are ours where Chinese asks for others.

    A line ends a sentence in 。！？ or an ellipsis, closing quotes aside. Text that is typed with care has Chinese
    punctuation (，。！？；：（）), not the marks of ASCII.
    """

    documents = CHINESE_TEXT

    lorem_ipsum: Bounds = at_most(0)
    curly_braces: Bounds = at_most(0)
    sentences: Bounds = at_least(5)
    closed_line_fraction: Bounds = at_least(0.12)
    narrow_line_fraction: Bounds = at_most(0.67)
    duplicate_line_text_fraction: Bounds = at_most(0.01)
    newline_to_word_ratio: Bounds = at_most(0.18)
    chinese_punctuation_fraction: Bounds = at_least(0.5)
