"""What is a comment and what is a literal: enough of every language's syntax to tell them from code.

Strings are matched so that no comment is found inside one, and the other way round. What is not closed ends at the
end of the line, or of the text where it may span lines. A language without an entry has neither.
"""

import functools
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_DOUBLE = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
_SINGLE = r"'[^'\\\n]*(?:\\.[^'\\\n]*)*'?"
_CHARACTER = r"'(?:\\[^\n']{1,10}|[^'\\\n])'"  # no string; 'a alone is a lifetime, a quote or a prime
_BACKTICK = r"`[^`\\]*(?:\\.[^`\\]*)*(?:`|\Z)"
_RAW_BACKTICK = r"`[^`]*(?:`|\Z)"
_TRIPLE_DOUBLE = r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:"""|\Z)'
_TRIPLE_SINGLE = r"'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*(?:'''|\Z)"


def _line(mark: str) -> str:
    return rf"{mark}[^\n]*"


def _block(begin: str, end: str) -> str:
    return rf"{re.escape(begin)}.*?(?:{re.escape(end)}|\Z)"


_C = f"{_line('//')}|{_block('/*', '*/')}"
_HASH = _line("#")
_SEMICOLON = f"{_line(';')}|{_block('#|', '|#')}"
_QUOTED = f"{_DOUBLE}|{_SINGLE}"
_MARKUP = _block("<!--", "-->")

# Comments, literals, languages.
_SYNTAX = (
    (_C, f"{_DOUBLE}|{_SINGLE}", "c c++ cuda objective-c objective-c++ c# solidity protobuf thrift verilog"),
    (_C, f"{_TRIPLE_DOUBLE}|{_DOUBLE}|{_SINGLE}", "java kotlin scala swift groovy"),
    (_C, f"{_TRIPLE_DOUBLE}|{_TRIPLE_SINGLE}|{_QUOTED}", "dart"),
    (_C, f"{_QUOTED}|{_BACKTICK}", "javascript typescript"),
    (_C, f"{_DOUBLE}|{_CHARACTER}|{_RAW_BACKTICK}", "go"),
    (_C, rf'r(?P<hashes>#*)".*?(?:"(?P=hashes)|\Z)|"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)|{_CHARACTER}', "rust"),
    (f"{_C}|{_HASH}", _QUOTED, "php"),
    (_C, f"{_DOUBLE}|{_CHARACTER}", "zig"),
    (_block("/*", "*/"), _QUOTED, "css"),
    (_HASH, f"{_TRIPLE_DOUBLE}|{_TRIPLE_SINGLE}|{_QUOTED}", "python cython"),
    (f"{_block('#=', '=#')}|{_HASH}", f"{_TRIPLE_DOUBLE}|{_DOUBLE}|{_CHARACTER}", "julia"),
    (_HASH, f"{_TRIPLE_DOUBLE}|{_DOUBLE}", "elixir nim graphql"),
    (f"{_block('<#', '#>')}|{_HASH}", _QUOTED, "powershell"),
    (f"{_block('/*', '*/')}|{_HASH}", _DOUBLE, "nix"),
    (_HASH, _QUOTED, "bash cmake dockerfile go-module make meson perl r ruby toml yaml"),
    (_HASH, _DOUBLE, "tcl"),
    (f"{_line('--')}|{_block('/*', '*/')}", _QUOTED, "sql"),
    (rf"--\[\[.*?(?:\]\]|\Z)|{_line('--')}", rf"{_QUOTED}|\[\[.*?(?:\]\]|\Z)", "lua"),
    (rf"{_block('{-', '-}')}|{_line('--')}", f"{_DOUBLE}|{_CHARACTER}", "haskell elm"),
    (_line("--"), f"{_DOUBLE}|{_CHARACTER}", "ada vhdl"),
    (_SEMICOLON, _DOUBLE, "clojure common-lisp emacs-lisp racket scheme"),
    (f"{_C}|{_line('[;#]')}", _DOUBLE, "assembly"),
    (_line("%"), f"{_DOUBLE}|{_SINGLE}", "erlang prolog"),
    (_line("%"), _DOUBLE, "matlab"),
    (_line("(?<!\\\\)%"), "(?!)", "tex"),
    (_block("(*", "*)"), f"{_DOUBLE}|{_CHARACTER}", "coq ocaml"),
    (f"{_block('(*', '*)')}|{_line('//')}", f"{_TRIPLE_DOUBLE}|{_DOUBLE}|{_CHARACTER}", "f#"),
    (rf"{_block('(*', '*)')}|\{{[^}}]*(?:\}}|\Z)|{_line('//')}", _SINGLE, "pascal"),
    (_line("!"), _QUOTED, "fortran"),
    (_MARKUP, "(?!)", "html"),
    (f"{_MARKUP}|{_C}", f"{_QUOTED}|{_BACKTICK}", "svelte vue"),
)
_BY_LANGUAGE = {
    language: (comments, literals) for comments, literals, languages in _SYNTAX for language in languages.split()
}
# Languages in which a string that stands alone documents what is around it.
_DOCUMENTED_BY_STRINGS = frozenset({"cython", "elixir", "julia", "python"})
_BEFORE_DOCUMENTATION = frozenset({"", "r", "R", "u", "U", "@doc", "@moduledoc"})


class Piece(NamedTuple):
    """A stretch of a text that is all code, or one comment, or one string."""

    kind: Literal["code", "comment", "string"]
    text: str


def has_syntax(language: str) -> bool:
    """Whether comments of this language are known."""
    return language in _BY_LANGUAGE


def divide(text: str, language: str) -> Iterator[Piece]:
    """A text as pieces, in order, all of it."""
    at = 0
    for match in _pattern(language).finditer(text):
        start, end = match.span()
        if start > at:
            yield Piece("code", text[at:start])
        comment = match.lastgroup == "comment" or (
            language in _DOCUMENTED_BY_STRINGS
            and match[0].startswith(('"""', "'''"))
            and text[text.rfind("\n", 0, start) + 1 : start].strip() in _BEFORE_DOCUMENTATION
        )
        yield Piece("comment" if comment else "string", match[0])
        at = end
    if at < len(text):
        yield Piece("code", text[at:])


@functools.cache
def _pattern(language: str) -> re.Pattern[str]:
    comments, literals = _BY_LANGUAGE.get(language, ("(?!)", "(?!)"))
    # The comment's group closes last when it matches, so that `lastgroup` names it whatever is inside.
    return re.compile(f"(?P<comment>{comments})|(?P<string>{literals})", re.DOTALL)
