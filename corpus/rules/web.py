"""The rules by which C4 and FineWeb choose web pages: they drop lists, tables and code, so a recipe turns them on."""

from castline.corpus.rules.rule_set import Bounds, Documents, RuleSet, at_least, at_most

SPACED_TEXT = Documents(kinds={"text"}, other_languages_than={"zh"})


class C4(RuleSet):
    """C4's rules on documents (Raffel et al. 2020, arXiv 1910.10683, section 2.2).

    Sentences are counted in the lines that C4 keeps; taking the other lines away is an edit.
    """

    documents = SPACED_TEXT

    lorem_ipsum: Bounds = at_most(0)
    curly_braces: Bounds = at_most(0)
    c4_sentences: Bounds = at_least(5)


class FineWeb(RuleSet):
    """FineWeb's rules (Penedo et al. 2024, arXiv 2406.17557, section 3.6)."""

    documents = SPACED_TEXT

    terminal_line_fraction: Bounds = at_least(0.12)
    short_line_fraction: Bounds = at_most(0.67)
    duplicate_line_text_fraction: Bounds = at_most(0.01)
    newline_to_word_ratio: Bounds = at_most(0.3)
