"""Imports of Go: a package is a folder, so all its files that are no tests are imported.

The path of a package is that of a module, which `go.mod` declares, and the folder below it. Without that file, the
longest end of the path that is a folder of the repository counts, where the path begins with a host name.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from castline.corpus.code.imports.files import Files, Import, folder_of, nearest
from castline.corpus.code.imports.lexer import C_COMMENTS, CHARACTER, QUOTED, Token, lexer, unquoted

_tokens = lexer(comments=C_COMMENTS, strings=rf"{QUOTED}|{CHARACTER}|`[^`]*(?:`|\Z)", lines=True)
_MODULE = re.compile(r'^module\s+"?([^\s"]+)', re.MULTILINE)


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an importing and an imported file."""
    packages: dict[str, list[str]] = defaultdict(list)
    for file in files.of("go"):
        if not file.path.endswith("_test.go"):
            packages[folder_of(file.path)].append(file.path)
    modules = {
        match[1]: folder_of(file.path)
        for file in files.of("go-module")
        if file.path.rpartition("/")[2] == "go.mod" and (match := _MODULE.search(file.text))
    }
    for file in files.of("go"):
        for path in parse_imports(file.text):
            folder = _resolve(file.path, path, modules, packages)
            if folder is not None and folder != folder_of(file.path):
                yield from (Import(file.path, imported) for imported in packages[folder])


def parse_imports(text: str) -> Iterator[str]:
    """The paths of the packages that a file imports; imports come before everything else but the package's name."""
    tokens = _tokens(text)
    for token in tokens:
        if token.text == "import":
            yield from _import(tokens)
        elif token.text == "package":
            next(tokens, None)
        elif token.text != ";" and token.kind != "end":
            return


def _import(tokens: Iterator[Token]) -> Iterator[str]:
    """The paths of one `import`, each with an optional name before it."""
    bracketed = False
    for token in tokens:
        if token.kind == "string":
            yield unquoted(token)
        if token.text == "(":
            bracketed = True
        elif token.text == ")" or (token.kind == "end" and not bracketed):
            return


def _resolve(importer: str, path: str, modules: dict[str, str], packages: dict[str, list[str]]) -> str | None:
    for module in sorted(modules, key=len, reverse=True):
        if path == module or path.startswith(module + "/"):
            folder = "/".join(part for part in (modules[module], path[len(module) + 1 :]) if part)
            return folder if folder in packages else None
    parts = path.split("/")
    if "." not in parts[0]:  # the standard library
        return None
    for start in range(1, len(parts)):
        tail = "/".join(parts[start:])
        found = nearest((f"{folder}/" for folder in packages if f"/{folder}".endswith(f"/{tail}")), importer)
        if found is not None:
            return found.rstrip("/")
    return None
