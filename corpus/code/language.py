"""The programming language of a file where its name does not tell it for sure: by the text."""

import re
from pathlib import PurePosixPath

from castline.corpus.readers.languages import interpreter

_OBJECTIVE_C = r"^[ \t]*(?:@(?:interface|implementation|protocol|end|import|class)\b|\#[ \t]*import\b)"
# Endings that several languages share: the first sign that is found decides, else the language of the ending.
_SHARED: dict[str, tuple[tuple[str, re.Pattern[str]], ...]] = {
    ".h": (
        ("objective-c", re.compile(_OBJECTIVE_C, re.MULTILINE)),
        ("c", re.compile(r"^[ \t]*#[ \t]*if(?:def[ \t]+|[ \t]+defined[ \t(]+)__cplusplus\b", re.MULTILINE)),
        (
            "c++",
            re.compile(
                r"^[ \t]*(?:(?:inline[ \t]+)?namespace\b|template[ \t]*<|(?:enum[ \t]+)?class[ \t]+\w|using[ \t]+\w|"
                r"(?:public|private|protected)[ \t]*:|constexpr\b|[^\n/*]*\w::\w|\#[ \t]*include[ \t]*<[a-z_]+>)",
                re.MULTILINE,
            ),
        ),
    ),
    ".m": (("objective-c", re.compile(rf"{_OBJECTIVE_C}|^[ \t]*\#[ \t]*include\b", re.MULTILINE)),),
    ".pl": (("prolog", re.compile(r"^[ \t]*:-|^[a-z]\w*\([^\n]*:-[ \t]*$", re.MULTILINE)),),
    ".v": (("coq", re.compile(r"^[ \t]*(?:Theorem|Lemma|Require|Definition|Proof)\b", re.MULTILINE)),),
}


def detect_language(path: str, language: str, text: str) -> str:
    """The language of a file.

    Args:
        path: of the file; its ending may be one that several languages use.
        language: that the name tells; "unknown" where it tells none.
        text: of the file.
    """
    for found, sign in _SHARED.get(PurePosixPath(path).suffix, ()):
        if sign.search(text):
            return found
    return (interpreter(text) or language) if language == "unknown" else language
