"""Modules of Rust: `mod x;` takes in a file, `use` names one by its path in the tree of modules.

The tree is that of the files: `src/lib.rs` and `src/main.rs` are the roots of a crate, named by `Cargo.toml` or its
folder; `a.rs` and `a/mod.rs` are the module `a` beside them. `#[path]` is honoured; modules written inside a file
belong to it.
A path is followed as far as there are files: `crate::a::b::C` is the file of `crate::a::b`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from castline.corpus.code.imports.files import Files, Import, ancestors, folder_of, join
from castline.corpus.code.imports.lexer import Token, lexer, unquoted

_tokens = lexer(
    comments=r"//[^\n]*|/\*.*?(?:\*/|\Z)",
    # 'a is a lifetime, 'a' a character
    strings=r'b?r(?P<hashes>\#*)".*?(?:"(?P=hashes)|\Z)|"(?:\\.|[^"\\])*(?:"|\Z)|' + r"'(?:\\[^\n]{1,10}?|[^'\\\n])'",
)
_PACKAGE = re.compile(r'^\[package\][^\[]*?^name\s*=\s*"([^"\n]+)"', re.MULTILINE)
_ROOTS = ("lib.rs", "main.rs", "mod.rs", "build.rs")
_DEEPEST = 32  # names of a path that are looked at
_TARGETS = ("benches", "bin", "examples", "tests")  # folders whose files are crates of their own


@dataclass(frozen=True)
class Reference:
    """One `mod` or `use`: the modules of the same file around it, and the path from there."""

    inside: tuple[str, ...]
    path: tuple[str, ...]
    declares: bool = False
    file: str = ""  # of #[path = "…"]


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an importing and an imported file."""
    paths = frozenset(file.path for file in files.of("rust"))
    crates = _crates(files, paths)
    for file in files.of("rust"):
        for reference in parse_references(file.text):
            imported = _resolve(file.path, reference, paths, crates)
            if imported is not None:
                yield Import(file.path, imported, deferred=reference.declares)


def _crates(files: Files, paths: frozenset[str]) -> dict[str, str]:
    """The root file of every library crate, by the name that Rust knows the crate by."""
    names = {
        folder_of(file.path): match[1]
        for file in files.of("toml")
        if file.path.rpartition("/")[2] == "Cargo.toml" and (match := _PACKAGE.search(file.text))
    }
    crates = {}
    for path in sorted(paths, reverse=True):  # so that the first of a name counts
        if f"/{path}".endswith("/src/lib.rs"):
            folder = folder_of(folder_of(path))
            crates[names.get(folder, folder.rpartition("/")[2]).replace("-", "_")] = path
    return crates


def parse_references(text: str) -> Iterator[Reference]:
    """The `mod name;` and `use path;` of a file, with those in modules written inside it."""
    tokens = list(_tokens(text))
    inside: list[tuple[str, int]] = []  # modules around, with the depth of braces at which each ends
    depth = 0
    file = ""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            depth -= 1
            if inside and inside[-1][1] == depth:
                inside.pop()
        elif token.text == "path" and _texts(tokens, at - 2, at + 2) == ["#", "[", "path", "="]:
            file = unquoted(tokens[at + 2]) if at + 2 < len(tokens) else ""
        elif token.text == "mod" and at + 2 < len(tokens) and tokens[at + 1].kind == "word":
            name = tokens[at + 1].text
            if tokens[at + 2].text == ";":
                yield Reference(tuple(module for module, _ in inside), (name,), declares=True, file=file)
            elif tokens[at + 2].text == "{":
                inside.append((name, depth))
            file = ""
            at += 1
        elif token.text == "use" and at + 1 < len(tokens):
            end = next((n for n in range(at, len(tokens)) if tokens[n].text == ";"), len(tokens))
            modules = tuple(module for module, _ in inside)
            for path in _use_tree(tokens[at + 1 : end]):
                yield Reference(modules, path)
            at = end
        at += 1


def _texts(tokens: list[Token], start: int, end: int) -> list[str]:
    return [token.text for token in tokens[max(start, 0) : end]]


def _use_tree(tokens: list[Token]) -> Iterator[tuple[str, ...]]:
    """`a::{b, c::d}` as the paths (a, b) and (a, c, d)."""
    prefixes: list[tuple[str, ...]] = [()]
    path: tuple[str, ...] = ()
    skip = False  # the name behind "as"
    for token in tokens:
        match token.text:
            case "{":
                prefixes.append(path)
            case "}" | ",":
                if len(path) > len(prefixes[-1]):
                    yield path
                if token.text == "}" and len(prefixes) > 1:
                    prefixes.pop()
                path = prefixes[-1]
            case "as":
                skip = True
                continue
            case _ if token.kind == "word" and not skip and len(path) < _DEEPEST:
                path = (*path, token.text)
        skip = False
    if path:
        yield path


def _resolve(importer: str, reference: Reference, paths: frozenset[str], crates: dict[str, str]) -> str | None:
    here = _module_folder(importer)
    if reference.declares:
        if reference.file:
            beside = join(folder_of(importer), reference.file)
            return beside if beside in paths else None
        return _file_of(join(here, "/".join((*reference.inside, *reference.path))), paths)
    first, *rest = reference.path
    if first == "crate":
        root = next((folder for folder in ancestors(folder_of(importer)) if _root_file(folder, paths)), None)
        return None if root is None else _follow(root, rest, paths)
    if first in ("self", "super"):
        modules = list(reference.inside)
        folder: str | None = here
        path = list(reference.path)
        while path and path[0] in ("self", "super"):
            if path.pop(0) == "super":
                if modules:
                    modules.pop()
                else:
                    folder = folder_of(folder or "")
        return None if modules else _follow(folder or "", path, paths)
    if first in crates and crates[first] != importer:
        return _follow(folder_of(crates[first]), rest, paths) or crates[first]
    child = _file_of(join(here, first), paths)
    return _follow(here, reference.path, paths) if child else None


def _module_folder(path: str) -> str:
    """The folder that the modules inside a file's module lie in."""
    folder, _, name = path.rpartition("/")
    return folder if name in _ROOTS or folder.rpartition("/")[2] in _TARGETS else path.removesuffix(".rs")


def _file_of(module: str | None, paths: frozenset[str]) -> str | None:
    """The file of the module whose own modules lie in the folder `module`."""
    return next((path for path in (f"{module}.rs", f"{module}/mod.rs") if path in paths), None)


def _root_file(folder: str, paths: frozenset[str]) -> str | None:
    prefix = f"{folder}/" if folder else ""
    return next((prefix + name for name in ("lib.rs", "main.rs") if prefix + name in paths), None)


def _follow(folder: str, path: list[str] | tuple[str, ...], paths: frozenset[str]) -> str | None:
    """The file of the innermost module on a path that begins at the module of `folder`."""
    found = _root_file(folder, paths) or _file_of(folder, paths)
    for name in path:
        folder = f"{folder}/{name}" if folder else name
        inner = _file_of(folder, paths)
        if inner is None:
            break
        found = inner
    return found
