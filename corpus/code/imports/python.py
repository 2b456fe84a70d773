"""Imports of Python: `import a.b`, `from a.b import c`, `from .. import c`, wherever they stand.

A name is looked up below every folder that could be on the path: one that is no package itself (has no
`__init__.py`) and holds the importer, nearest first; then any other such folder. The packages above an imported
module run first in Python, too, but are not counted as imported: most of them import their modules in turn.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from castline.corpus.code.imports.files import Files, Import, Module, ancestors, folder_of
from castline.corpus.code.imports.lexer import Token, lexer

_COMMENTS = r"\#[^\n]*|\\\n"
_STRINGS = r'''"""(?:\\.|.)*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*"?|''' + r"""'''(?:\\.|.)*?(?:'''|\Z)|'(?:\\.|[^'\\\n])*'?"""
_tokens = lexer(comments=_COMMENTS, strings=_STRINGS, lines=True)
# The beginning of a statement; what is none is matched so that none is found inside it.
_IMPORT = re.compile(
    rf"{_COMMENTS}|{_STRINGS}|(?:^|[;:])[^\S\n]*(?P<keyword>\b(?:from|import|cimport)\b)", re.DOTALL | re.MULTILINE
)
_PACKAGE_FILES = ("__init__.py", "__init__.pyi")


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an importing and an imported file."""
    modules = _modules(files)
    for file in files.of("python", "cython"):
        for statement in parse_imports(file.text):
            for imported in _resolve(file.path, statement, modules):
                yield Import(file.path, imported, deferred=statement.indented)


class Statement(NamedTuple):
    """`from ..module import names` (two levels), or `import module` (no names)."""

    level: int
    module: str
    names: list[str]
    indented: bool  # inside a function, a condition, …


def parse_imports(text: str) -> Iterator[Statement]:
    """The imports of a file; `import a, b` gives two."""
    for match in _IMPORT.finditer(text):
        if match["keyword"]:
            statement = _statement(_tokens(text, match.start("keyword")))
            indented = not match[0].startswith(match["keyword"])
            if match["keyword"] == "from":
                yield from _from(statement, indented)
            else:
                yield from (Statement(0, module, [], indented) for module in _dotted_names(statement))


def _statement(tokens: Iterator[Token]) -> list[Token]:
    """The tokens behind the keyword up to the end of the statement; line ends count outside parentheses only."""
    next(tokens)
    statement: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == ";" or (token.kind == "end" and depth <= 0):
            break
        if token.kind != "end":
            statement.append(token)
    return statement


def _from(tokens: list[Token], indented: bool) -> Iterator[Statement]:
    level = next((at for at, token in enumerate(tokens) if token.text != "."), len(tokens))
    module, at = _dotted(tokens, level)
    if at < len(tokens) and tokens[at].text in ("import", "cimport"):
        yield Statement(level, module, _imported_names(tokens[at + 1 :]), indented)


def _dotted(tokens: list[Token], at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(tokens) and tokens[at].kind == "word" and tokens[at].text not in ("import", "cimport", "as"):
        parts.append(tokens[at].text)
        at += 1
        if at >= len(tokens) or tokens[at].text != ".":
            break
        at += 1
    return ".".join(parts), at


def _dotted_names(tokens: list[Token]) -> Iterator[str]:
    """`a.b as c, d`: a.b and d."""
    at = 0
    while True:
        name, at = _dotted(tokens, at)
        if name:
            yield name
        if at < len(tokens) and tokens[at].text == "as":
            at += 2
        if at >= len(tokens) or tokens[at].text != ",":
            return
        at += 1


def _imported_names(tokens: list[Token]) -> list[str]:
    """`a as b, c`, in parentheses or bare: a and c."""
    names: list[str] = []
    expected = True  # a name; not so behind "as"
    for token in tokens:
        if token.text == ",":
            expected = True
        elif expected and (token.kind == "word" or token.text == "*"):
            names.append(token.text)
            expected = False
    return names


def _modules(files: Files) -> dict[str, list[Module]]:
    """Every name that a file can be imported by, with the root that the name is relative to."""
    packages = {folder_of(path) for path in files.paths if path.rpartition("/")[2] in _PACKAGE_FILES}
    modules: dict[str, list[Module]] = defaultdict(list)
    for file in files.of("python", "cython"):
        stem, dot, _ = file.path.rpartition(".")
        if not dot or "/" in file.path[len(stem) :]:
            continue  # a script without an ending, which nothing can import
        name = folder_of(stem) if file.path.rpartition("/")[2] in _PACKAGE_FILES else stem
        for root in ancestors(folder_of(name)):
            if root not in packages or root == "":
                dotted = name[len(root) :].strip("/").replace("/", ".")
                modules[dotted].append(Module(root, file.path))
    return modules


def _resolve(importer: str, statement: Statement, modules: dict[str, list[Module]]) -> Iterator[str]:
    base, absolute = statement.module, statement.level == 0
    if not absolute:
        folder = folder_of(importer)
        for _ in range(statement.level - 1):
            folder = folder_of(folder)
        base = ".".join(part for part in (folder.replace("/", "."), base) if part)

    def find(name: str) -> str | None:
        return _choose(importer, [found for found in modules.get(name, []) if absolute or found.root == ""])

    whole = False  # whether something is taken from the module itself
    for name in statement.names:
        submodule = find(f"{base}.{name}" if base else name)
        if submodule:
            yield submodule
        whole = whole or submodule is None
    if whole or not statement.names:
        found = find(base)
        if found:
            yield found


def _choose(importer: str, candidates: list[Module]) -> str | None:
    """The module below the nearest root above the importer, else below the root nearest the top."""
    folder = folder_of(importer)

    def preference(module: Module) -> tuple[bool, int, bool, str]:
        above = module.root == "" or folder == module.root or folder.startswith(module.root + "/")
        depth = len(module.root)
        other_form = importer.rpartition(".")[2] != module.path.rpartition(".")[2]
        return not above, -depth if above else depth, other_form, module.path

    best = min((module for module in candidates if module.path != importer), key=preference, default=None)
    return best.path if best else None
