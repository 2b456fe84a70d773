"""Imports of Java: `import a.b.C;`, `import a.b.*;` (every file of the package) and `import static a.b.C.x;`.

A type is found by the package that its file declares and the file's name. Types of the importer's own package need
no import and are not counted.
"""

from collections import defaultdict
from collections.abc import Iterator

from castline.corpus.code.imports.files import Files, Import, nearest
from castline.corpus.code.imports.lexer import C_COMMENTS, CHARACTER, QUOTED, Token, lexer

_tokens = lexer(comments=C_COMMENTS, strings=rf'""".*?(?:"""|\Z)|{QUOTED}|{CHARACTER}', words=r"[^\W\d][\w$]*")
_AFTER_IMPORTS = ("class", "interface", "enum", "record")


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an importing and an imported file."""
    parsed = {file.path: parse_imports(file.text) for file in files.of("java")}
    types: dict[str, list[str]] = defaultdict(list)
    packages: dict[str, list[str]] = defaultdict(list)
    for path, (package, _) in parsed.items():
        stem = path.rpartition("/")[2].removesuffix(".java")
        types[f"{package}.{stem}" if package else stem].append(path)
        packages[package].append(path)
    for path, (_, names) in parsed.items():
        for name in names:
            found = _type(name.removesuffix(".*"), path, types)
            if found:
                yield Import(path, found)
            elif name.endswith(".*"):
                yield from (Import(path, imported) for imported in packages.get(name.removesuffix(".*"), []))


def parse_imports(text: str) -> tuple[str, list[str]]:
    """The package that a file declares, and the names it imports."""
    package = ""
    names: list[str] = []
    tokens = _tokens(text)
    for token in tokens:
        if token.text == "package" and not package:
            package = _name(tokens)
        elif token.text == "import":
            names.append(_name(tokens))
        elif token.text in _AFTER_IMPORTS:
            break
    return package, [name for name in names if name]


def _name(tokens: Iterator[Token]) -> str:
    """A dotted name up to the semicolon; `static` is left out."""
    parts = []
    for token in tokens:
        if token.text == ";":
            break
        if token.text != "static":
            parts.append(token.text)
    return "".join(parts)


def _type(name: str, importer: str, types: dict[str, list[str]]) -> str | None:
    """The file of a type, of a type inside it, or of a static member: the longest beginning of the name that is one."""
    while name:
        if name in types:
            return nearest(types[name], importer)
        name = name.rpartition(".")[0]
    return None
