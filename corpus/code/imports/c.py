"""Includes of C, C++, CUDA and their like: `#include "a/b.h"` and `#include <a/b.h>`.

A quoted name is looked up beside the including file, then as the end of any path; of several, the nearest file. A
name in angle brackets is looked up as the end of a path, below a folder that headers are usually included from
(`include`, `src` or the top) where it is a bare name: `<string.h>` is not just any
file called so.
"""

import re
from collections.abc import Iterator

from castline.corpus.code.imports.files import Files, Import, folder_of, join, nearest

_LANGUAGES = ("c", "c++", "cuda", "objective-c", "objective-c++")
_ROOTS = ("", "inc", "include", "includes", "src")
# What is not an include is matched so that an include inside it is not.
_INCLUDE = re.compile(
    r"""//(?:\\\n|[^\n])*
    | /\*.*?(?:\*/|\Z)
    | R"(?P<mark>[^()\s\\]{0,16})\(.*?(?:\)(?P=mark)"|\Z)
    | ^[^\S\n]*\#[^\S\n]*(?:include|include_next|import)\b[^\S\n]*(?:/\*[^\n]*?\*/[^\S\n]*)?
      (?:"(?P<quoted>[^"\n]+)"|<(?P<angle>[^>\n]+)>)
    | "(?:\\.|[^"\\\n])*"?
    | '(?:\\.|[^'\\\n])*'?""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an including and an included file."""
    for file in files.of(*_LANGUAGES):
        for name, quoted in parse_includes(file.text):
            included = _resolve(file.path, name, quoted, files)
            if included is not None:
                yield Import(file.path, included)


def parse_includes(text: str) -> Iterator[tuple[str, bool]]:
    """The names that a file includes, and whether they are in quotes."""
    for match in _INCLUDE.finditer(text):
        if match["quoted"]:
            yield match["quoted"], True
        elif match["angle"]:
            yield match["angle"], False


def _resolve(includer: str, name: str, quoted: bool, files: Files) -> str | None:
    name = name.replace("\\", "/")
    if quoted:
        beside = join(folder_of(includer), name)
        if beside in files.paths:
            return beside
    tail = join("", name.replace("../", ""))
    if not tail:
        return None
    candidates = files.ending(tail)
    if not quoted and "/" not in tail:
        candidates = [path for path in candidates if folder_of(path).rpartition("/")[2] in _ROOTS]
    return nearest((path for path in candidates if path != includer), includer)
