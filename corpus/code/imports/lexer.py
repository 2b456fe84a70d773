"""Splitting code into words, strings and marks: all that finding imports takes, and it never fails.

What is not closed ends at the end of its line, or of the file where it may span lines. Numbers and white space
are left out, comments too; line ends are kept where a language ends its statements with them.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

C_COMMENTS = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
QUOTED = r'"(?:\\.|[^"\\\n])*"?'  # the usual string; it ends at the end of the line at the latest
CHARACTER = r"'(?:\\.|[^'\\\n])*'?"


class Token(NamedTuple):
    """A word, a string as it is written (with its quotes), or a single other character (a mark)."""

    kind: str  # "word", "string", "mark" or "end" (of a line)
    text: str


def lexer(
    *, comments: str, strings: str, words: str = r"[^\W\d]\w*", lines: bool = False
) -> Callable[..., Iterator[Token]]:
    """A function that splits a text into tokens, from a place in it on.

    Args:
        comments: a regular expression for them, in which "." matches a line feed.
        strings: the same for strings and characters.
        words: the same for words.
        lines: whether the end of a line is a token.
    """
    end = r"(?P<end>\n)|" if lines else ""
    pattern = re.compile(
        rf"(?P<comment>{comments})|(?P<string>{strings})|{end}(?P<word>{words})|(?P<number>\d\w*)|(?P<mark>[^\w\s])",
        re.DOTALL,
    )

    def split(text: str, start: int = 0) -> Iterator[Token]:
        for match in pattern.finditer(text, start):
            kind = match.lastgroup or ""
            if kind not in ("comment", "number"):
                yield Token(kind, match[0])

    return split


def unquoted(token: Token) -> str:
    """What stands between the quotes of a string, escapes and all."""
    return token.text.strip("\"'`")
