"""Modules of Rust: `mod x;` takes in a file, `use` names one by its path in the tree of modules.

The tree is that of the files: `src/lib.rs` and `src/main.rs` are the roots of a crate; `a.rs` and `a/mod.rs` are the
module `a` beside them. `#[path]` is honoured; modules written inside a file belong to it. A path is followed as far as
there are files: `crate::a::b::C` is the file of `crate::a::b`. Other crates are found by the names that `cargo.py`
knows, and those that `extern crate a as b;` gives them. What a function or a module of tests uses can wait.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from castline.corpus.code.imports.cargo import Crates
from castline.corpus.code.imports.files import Files, Import, ancestors, folder_of, join
from castline.corpus.code.imports.lexer import Token, lexer, unquoted

_tokens = lexer(
    comments=r"//[^\n]*|/\*.*?(?:\*/|\Z)",
    # 'a is a lifetime, 'a' a character
    strings=r'b?r(?P<hashes>\#*)".*?(?:"(?P=hashes)|\Z)|"(?:\\.|[^"\\])*(?:"|\Z)|' + r"'(?:\\[^\n]{1,10}?|[^'\\\n])'",
)
_ROOTS = ("lib.rs", "main.rs", "mod.rs", "build.rs")
_OTHER_CRATE = ""  # begins the path of what is in no module of this crate
_DEEPEST = 32  # names of a path that are looked at
_TARGETS = ("benches", "bin", "examples", "tests")  # folders whose files are crates of their own


@dataclass(frozen=True)
class Reference:
    """One `mod`, `use` or `extern crate`: the modules of the same file around it, and the path from there."""

    inside: tuple[str, ...]
    path: tuple[str, ...]
    declares: bool = False
    file: str = ""  # of #[path = "…"]
    known_as: str = ""  # of `extern crate a;` and `use a as b;`: the name that it has in this file
    nested: bool = False  # inside braces: of a function, or of a module


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an importing and an imported file."""
    paths = frozenset(file.path for file in files.of("rust"))
    crates = Crates(files)
    parsed = {file.path: list(parse_references(file.text)) for file in files.of("rust")}
    renamed = {  # names of crates, by the file that gives them
        path: {found.known_as: found.path[-1] for found in references if found.known_as}
        for path, references in parsed.items()
    }
    for path, references in parsed.items():
        names = renamed[path] | renamed.get(_crate_root(path, paths) or "", {})
        for reference in references:
            imported = _resolve(path, reference, paths, crates, names)
            if imported is not None:
                yield Import(path, imported, deferred=reference.declares or reference.nested)


def parse_references(text: str) -> Iterator[Reference]:
    """The `mod name;`, `use path;` and `extern crate name;` of a file, with those in modules written inside it."""
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
        elif token.text == "crate" and _texts(tokens, at - 1, at) == ["extern"] and at + 1 < len(tokens):
            name = tokens[at + 1].text
            known_as = (
                tokens[at + 3].text if _texts(tokens, at + 2, at + 3) == ["as"] and at + 3 < len(tokens) else name
            )
            yield Reference((), (_OTHER_CRATE, name), known_as=known_as)
        elif token.text == "use" and at + 1 < len(tokens):
            end = next((n for n in range(at, len(tokens)) if tokens[n].text == ";"), len(tokens))
            modules = tuple(module for module, _ in inside)
            known_as = tokens[at + 3].text if end == at + 4 and tokens[at + 2].text == "as" else ""
            prefix = (_OTHER_CRATE,) if tokens[at + 1].text == ":" else ()  # use ::name
            for path in _use_tree(tokens[at + 1 : end]):
                yield Reference(modules, (*prefix, *path), known_as=known_as, nested=depth > 0)
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


def _resolve(
    importer: str, reference: Reference, paths: frozenset[str], crates: Crates, names: Mapping[str, str]
) -> str | None:
    here = _module_folder(importer)
    if reference.declares:
        if reference.file:
            beside = join(folder_of(importer), reference.file)
            return beside if beside in paths else None
        return _file_of(join(here, "/".join((*reference.inside, *reference.path))), paths)
    first, *rest = reference.path
    if first == "crate":
        root = _crate_root(importer, paths)
        return _follow(folder_of(root), rest, paths) or root if root else None
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
        folder = "/".join(part for part in (folder or "", *modules) if part)
        return _follow(folder, path, paths) or (None if modules else _own_file(folder, paths))
    if first == _OTHER_CRATE:
        first, *rest = rest
    else:
        inner = "/".join(part for part in (here, *reference.inside) if part)
        found = _follow(inner, reference.path, paths) or _follow(here, reference.path, paths)
        if found:
            return found
    library = crates.find(names.get(first, first), importer)
    return None if library is None else _follow(folder_of(library), rest, paths) or library


def _module_folder(path: str) -> str:
    """The folder that the modules inside a file's module lie in."""
    folder, _, name = path.rpartition("/")
    return folder if name in _ROOTS or folder.rpartition("/")[2] in _TARGETS else path.removesuffix(".rs")


def _file_of(module: str | None, paths: frozenset[str]) -> str | None:
    """The file of the module whose own modules lie in the folder `module`."""
    return next((path for path in (f"{module}.rs", f"{module}/mod.rs") if path in paths), None)


def _crate_root(path: str, paths: frozenset[str]) -> str | None:
    """The file that the crate of a file begins with."""
    return next(filter(None, (_root_file(folder, paths) for folder in ancestors(folder_of(path)))), None)


def _root_file(folder: str, paths: frozenset[str]) -> str | None:
    prefix = f"{folder}/" if folder else ""
    return next((prefix + name for name in ("lib.rs", "main.rs") if prefix + name in paths), None)


def _own_file(folder: str, paths: frozenset[str]) -> str | None:
    """The file of the module whose own modules lie in a folder, also where that is a crate's first."""
    return _root_file(folder, paths) or _file_of(folder, paths)


def _follow(folder: str, path: Sequence[str], paths: frozenset[str]) -> str | None:
    """The file of the innermost module on a path from the module of `folder`; None where none has a file.

    A module without a file may be one that is written inside another's, and have modules with files of their own.
    """
    found = None
    for name in path:
        folder = f"{folder}/{name}" if folder else name
        found = _file_of(folder, paths) or found
    return found
