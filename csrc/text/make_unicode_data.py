"""Writes unicode_data.inc from the Unicode database of the `regex` package and Python's case mappings.

Run `python csrc/text/make_unicode_data.py` after updating `regex`; the file is kept in the repository.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import regex

# In order: the first pattern that matches gives the class of csrc/text/unicode.hpp.
CLASSES = {
    "newline": r"\n",
    "space": r"\p{White_Space}",
    "han": r"\p{Script=Han}",
    "terminal": r"\p{Sentence_Terminal}",
    "abnormal": r"[\p{Cc}\p{Cs}\p{Co}\p{Cn}\uFFFD]",
    "upper": r"[\p{Lu}\p{Lt}]",
    "letter": r"\p{L}",
    "digit": r"\p{Nd}",
    "number": r"\p{N}",
    "mark": r"\p{M}",
    "format": r"\p{Cf}",
    "connector": r"\p{Pc}",
    "punctuation": r"\p{P}",
    "symbol": r"\p{S}",
}
SURROGATES = range(0xD800, 0xE000)


def class_ranges() -> Iterator[tuple[int, str]]:
    """The first code point of every run of one class, in order."""
    matchers = {name: regex.compile(pattern) for name, pattern in CLASSES.items()}
    last = ""
    for code in range(sys.maxunicode + 1):
        name = "abnormal"
        if code not in SURROGATES:
            name = next(name for name, matcher in matchers.items() if matcher.fullmatch(chr(code)))
        if name != last:
            yield code, name
        last = name


def lower_pairs() -> Iterator[tuple[int, int]]:
    """Upper and title case letters outside ASCII whose lower case is one code point."""
    upper = regex.compile(CLASSES["upper"])
    for code in range(0x80, sys.maxunicode + 1):
        lower = chr(code).lower()
        if code not in SURROGATES and upper.fullmatch(chr(code)) and lower != chr(code) and len(lower) == 1:
            yield code, ord(lower)


def wrap(items: list[str], per_line: int) -> str:
    """C++ initialisers, `per_line` to a line."""
    lines = (", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line))
    return "".join(f"    {line},\n" for line in lines)


def main() -> None:
    """Write unicode_data.inc beside this file."""
    ranges = [f"{{0x{code:X}, C::{name}}}" for code, name in class_ranges()]
    pairs = [f"{{0x{code:X}, 0x{lower:X}}}" for code, lower in lower_pairs()]
    text = (
        "// Written by make_unicode_data.py; do not edit. Facts of the Unicode Character Database.\n"
        "constexpr ClassRange kClassRanges[] = {\n" + wrap(ranges, 5) + "};\n\n"
        "constexpr LowerPair kLowerPairs[] = {\n" + wrap(pairs, 6) + "};\n"
    )
    Path(__file__).with_name("unicode_data.inc").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
