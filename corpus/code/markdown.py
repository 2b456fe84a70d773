"""A file as a section of a markdown document: its path as a heading, its text in a fenced block.

The text stays as it is, byte for byte. The fence is longer than any run of backticks in the text. A markdown file
stands as it is, without a fence, unless a code block in it is left open: that would swallow what follows.
"""

import re

from castline.corpus.code.imports.files import CodeFile

_BACKTICKS = re.compile(r"`{3,}")
_FENCE = re.compile(r"^[ >]*(?:[-*+] +|\d+[.)] +)?(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})(?P<info>[^\n]*)$", re.MULTILINE)
# Names that renderers know, where they differ from ours.
_INFO = {
    "assembly": "asm",
    "c#": "csharp",
    "c++": "cpp",
    "common-lisp": "lisp",
    "emacs-lisp": "elisp",
    "f#": "fsharp",
    "go-module": "go-mod",
    "make": "makefile",
    "objective-c": "objectivec",
    "objective-c++": "objectivec",
    "restructuredtext": "rst",
    "unknown": "",
}


def section(file: CodeFile) -> tuple[str, str]:
    """What stands before and behind the text of a file in a markdown document; ends with a blank line."""
    heading = f"# {file.path}\n\n"
    line_end = "" if file.text.endswith("\n") else "\n"
    if file.language == "markdown" and not _leaves_open(file.text):
        return heading, f"{line_end}\n"
    longest = max((len(run[0]) for run in _BACKTICKS.finditer(file.text)), default=2)
    fence = "`" * (longest + 1)
    return f"{heading}{fence}{_INFO.get(file.language, file.language)}\n", f"{line_end}{fence}\n\n"


def _leaves_open(text: str) -> bool:
    """Whether a fenced block of a markdown text has no end."""
    fence = ""
    for match in _FENCE.finditer(text):
        if not fence:
            fence = match["fence"]
        elif match["fence"].startswith(fence) and not match["info"].strip():
            fence = ""
    return bool(fence)
