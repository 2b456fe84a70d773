"""Which file of a repository imports which: one parser per language, nothing of the code is run.

Each parser splits a file into words, strings and marks, comments left out (`lexer`), finds the imports among
them, and resolves them to files of the same repository; what is imported from elsewhere is no file here and is
passed over, and so is what only a build system could tell (include paths, path aliases, generated files).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from castline.corpus.code.imports import c, go, java, javascript, python, rust
from castline.corpus.code.imports.files import CodeFile, Files, Import

_FINDERS: tuple[Callable[[Files], Iterable[Import]], ...] = (
    c.find_imports,
    go.find_imports,
    java.find_imports,
    javascript.find_imports,
    python.find_imports,
    rust.find_imports,
)


@dataclass(frozen=True)
class ImportGraph:
    """For the path of every file of a repository, the paths of those that it imports; never itself.

    `firm` are the imports that run when the file is loaded; `all` has those too that wait until a function is
    called or a condition holds, or that only name a part of the program.
    """

    all: dict[str, set[str]]
    firm: dict[str, set[str]]


def find_imports(files: Sequence[CodeFile]) -> ImportGraph:
    """The imports between the files of a repository."""
    index = Files(files)
    graph = ImportGraph({path: set() for path in index.paths}, {path: set() for path in index.paths})
    for finder in _FINDERS:
        for found in finder(index):
            if found.importer != found.imported:
                graph.all[found.importer].add(found.imported)
                if not found.deferred:
                    graph.firm[found.importer].add(found.imported)
    return graph
