"""Terms are found as a plain Python search finds them, in any script."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castline import _C


def fold(text: str) -> str:
    folded = ""
    for character in text:
        if unicodedata.category(character) == "Cf":
            continue
        if character.isspace():
            folded += "" if folded.endswith(" ") else " "
        elif "\uff01" <= character <= "\uff5e":
            folded += chr(ord(character) - 0xFEE0).lower()
        else:
            folded += character.lower()
    return folded


def joins(character: str) -> bool:
    """Whether words go on between two such characters: letters but of unspaced scripts, numbers, marks, "_"."""
    unspaced = ("\u0e00", "\u0eff"), ("\u3040", "\u30ff"), ("\u4e00", "\u9fff")
    if any(first <= character <= last for first, last in unspaced):
        return False
    return unicodedata.category(character)[0] in "LNM" or unicodedata.category(character) == "Pc"


def places(text: str, terms: list[str]) -> list[tuple[int, int, int]]:
    found = []
    for number, term in enumerate(terms):
        for begin in range(len(text) - len(term) + 1):
            end = begin + len(term)
            continues = begin > 0 and joins(text[begin - 1]) and joins(text[begin])
            goes_on = end < len(text) and joins(text[end - 1]) and joins(text[end])
            if text.startswith(term, begin) and not continues and not goes_on:
                found.append((begin, end, number))
    return found


def oracle(text: str, terms: list[str], exceptions: list[str]) -> list[int]:
    text, terms = fold(text), [fold(term).strip() for term in terms]
    excepted = places(text, [fold(exception).strip() for exception in exceptions])
    result, taken = [], 0
    for begin, end, number in sorted(places(text, terms), key=lambda one: (one[0], -one[1], one[2])):
        if begin >= taken and not any(first <= begin and end <= last for first, last, _ in excepted):
            result.append(number)
            taken = end
    return result


PIECES = st.sampled_from(
    [*"abAB 1_-.\n", "测", "试", "é", "É", "e\u0301", "Ａ", "ｂ", "\u00ad", "\u200d", "か", "ไ", "Σ"]
)
TERMS = st.lists(PIECES, min_size=1, max_size=4).map("".join).filter(lambda term: fold(term).strip() != "")


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join), st.lists(TERMS, min_size=1, max_size=6), st.lists(TERMS, max_size=3))
def test_the_same_terms_as_a_plain_search(text: str, terms: list[str], exceptions: list[str]) -> None:
    assert _C.TermMatcher(terms, exceptions).find([text]) == [oracle(text, terms, exceptions)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Spam, spam and SPAM", ["spam"] * 3),
        ("spammer antispam spam_x spam1", []),
        ("spam's spam-free", ["spam", "spam"]),
        ("buy\n  now!", ["buy now"]),
        ("看spam网站", ["spam"]),
        ("色情网站", ["色情"]),
        ("角色情节很好", []),
        ("ＳＰＡＭ", ["spam"]),
        ("s\u00adp\u200ba\u200dm", ["spam"]),
        ("CAFÉ", ["café"]),
        ("cafés", []),
        ("", []),
    ],
)
def test_boundaries_are_those_of_the_script(text: str, found: list[str]) -> None:
    terms = ["spam", "buy now", "色情", "café"]
    matcher = _C.TermMatcher(terms, ["角色情节"])
    assert [terms[number] for number in matcher.find([text])[0]] == found


def test_the_longest_of_overlapping_terms_counts() -> None:
    terms = ["new", "new york", "york city", "city"]
    assert _C.TermMatcher(terms).find(["in New York City, new"]) == [[1, 3, 0]]


def test_many_terms_and_threads() -> None:
    terms = [f"word{number}" for number in range(20_000)]
    texts = [" ".join(terms[start : start + 50]) for start in range(0, 20_000, 50)]
    matcher = _C.TermMatcher(terms)
    expected = [list(range(start, start + 50)) for start in range(0, 20_000, 50)]
    assert matcher.find(texts) == matcher.find(texts, threads=3) == expected


def test_a_term_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[terms\] expected a term, but got ' \n'"):
        _C.TermMatcher(["a", " \n"])


def test_bytes_that_are_not_utf8_do_no_harm() -> None:
    assert _C.TermMatcher([b"a"]).find([b"\xff a \xe4\xbd", b"\xc3"]) == [[0], []]
