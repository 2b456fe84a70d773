"""What code is judged by, beside what is measured of every text: comments, literals, names, repetition.

Where characters are counted, white space is not. A word is a run of letters, digits and "_" outside comments and
strings.
"""

import re
from collections import Counter
from dataclasses import dataclass

from castline.corpus.code.generated import is_generated
from castline.corpus.code.syntax import divide, has_syntax

_WORD = re.compile(r"\w+")
_MINIFIED_NAME = re.compile(r"[.-]min\.(?:css|js|mjs)$|\.(?:bundle|chunk)\.js$", re.IGNORECASE)
_MINIFIED_LANGUAGES = frozenset({"css", "javascript", "typescript"})
_MINIFIED_LINE = 110  # characters per line of code; the bound of GitHub's linguist
_MINIFIED_WHITE_SPACE = 0.05  # of code, that has at least
_MINIFIED_CHARACTERS = 1000
_WHOLE_LINE = 16  # characters; shorter lines ("return None") come again in the best of code


@dataclass(frozen=True)
class CodeMeasurements:
    """The numbers of one file; those after the first two are None where the language's comments are not known."""

    generated: int  # 1 where a program wrote it
    minified: int  # 1 where it was made short, not legible
    comment_fraction: float | None = None  # characters in comments and docstrings
    literal_fraction: float | None = None  # characters in strings and numbers, of those and the words
    one_letter_fraction: float | None = None  # words of one letter, of all that are no numbers
    repeated_line_fraction: float | None = None  # characters in lines that came before, of all lines of 16 and more
    code_score: float | None = None  # all of these in one number, from 0 to 1


def measure_code(path: str, language: str, text: str) -> CodeMeasurements:
    """Measure a file.

    Args:
        path: its name may say what it is.
        language: as `readers/languages.py` names it.
        text: all of it.
    """
    generated = int(is_generated(path, text))
    minified = _MINIFIED_NAME.search(path) is not None
    if not has_syntax(language):
        return CodeMeasurements(generated, int(minified))
    comments: list[str] = []
    code: list[str] = []  # without comments, and strings empty
    literals = 0
    for piece in divide(text, language):
        if piece.kind == "comment":
            comments.append(piece.text)
            code.append(" ")
        elif piece.kind == "string":
            literals += len(piece.text)
            code.append('""')
        else:
            code.append(piece.text)
    bare = "".join(code)
    words = Counter(_WORD.findall(bare))
    names = {word: count for word, count in words.items() if not word[0].isdigit()}
    literals += _characters(words) - _characters(names)
    lines = [line for line in map(str.strip, bare.split("\n")) if line]
    if language in _MINIFIED_LANGUAGES:
        minified = minified or _is_minified(bare, len(lines))
    comment_fraction = _share(_solid("".join(comments)), _solid(text))
    literal_fraction = _share(literals, literals + _characters(names))
    one_letter = sum(count for name, count in names.items() if len(name) == 1)
    one_letter_fraction = _share(one_letter, sum(names.values()))
    whole = Counter(line for line in lines if len(line) >= _WHOLE_LINE)
    repeated_line_fraction = _share(_characters(whole) - _characters(dict.fromkeys(whole, 1)), _characters(whole))
    # Each factor goes from 1, at best, straight down to the value where nothing is left (or, of the two with a
    # floor, half).
    score = (
        (0.5 + 0.5 * _ramp(comment_fraction, 0.0, 0.2))
        * _ramp(comment_fraction, 0.98, 0.7)
        * _ramp(literal_fraction, 0.95, 0.15)
        * _ramp(one_letter_fraction, 0.5, 0.0)
        * _ramp(repeated_line_fraction, 0.8, 0.0)
        * _ramp(_share(sum(map(len, lines)), len(lines)), 120.0, 45.0)
        * (0.4 + 0.6 * _ramp(sum(names.values()), 0.0, 300.0))
    )
    return CodeMeasurements(
        generated,
        int(minified),
        comment_fraction,
        literal_fraction,
        one_letter_fraction,
        repeated_line_fraction,
        score,
    )


def _is_minified(code: str, lines: int) -> bool:
    solid = _solid(code)
    return solid > _MINIFIED_LINE * lines or (
        len(code) >= _MINIFIED_CHARACTERS and len(code) - solid < _MINIFIED_WHITE_SPACE * len(code)
    )


def _solid(text: str) -> int:
    """Characters that are not white space."""
    return sum(map(len, text.split()))


def _characters(counts: dict[str, int]) -> int:
    return sum(len(text) * count for text, count in counts.items())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _ramp(value: float, worst: float, best: float) -> float:
    """0 at the worst value and beyond, 1 at the best and beyond, a straight line between."""
    return min(max((value - worst) / (best - worst), 0.0), 1.0)
