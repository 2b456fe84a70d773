"""Imports of JavaScript and TypeScript: relative paths in `import`, `export … from`, `import()` and `require()`.

A path is looked up as it is, with the extensions that may be left out, and as a folder with an index file; `.js` may
stand for a `.ts` of the same name, and `.ts` for its declarations, as TypeScript has it. Names without a leading dot
are packages, and no files here.
"""

import re
from collections.abc import Iterator

from castline.corpus.code.imports.files import Files, Import, folder_of, join
from castline.corpus.code.imports.lexer import C_COMMENTS, CHARACTER, QUOTED

# What is no import is matched so that no import is found inside it. A regular expression is told from a division by
# what comes before it.
_IMPORT = re.compile(
    rf"""{C_COMMENTS}
    | (?<![\w$.])(?:from|(?:import|require)\s*\(|import)\s*(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)')
    | {QUOTED} | {CHARACTER} | `(?:\\.|[^`\\])*(?:`|\Z)
    | (?<=[(,=:\[!&|?{{}};\n])[^\S\n]*/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n]){{0,100}}\]|[^/\\\[\n]){{1,400}}/""",
    re.DOTALL | re.VERBOSE,
)
_LANGUAGES = ("javascript", "typescript", "vue", "svelte")
_EXTENSIONS = (".ts", ".tsx", ".d.ts", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".vue", ".svelte", ".json")
_WRITTEN_AS = {
    ".js": (".ts", ".tsx", ".d.ts"),
    ".jsx": (".tsx",),
    ".mjs": (".mts", ".d.mts"),
    ".cjs": (".cts", ".d.cts"),
    ".ts": (".d.ts",),
    ".mts": (".d.mts",),
    ".cts": (".d.cts",),
}


def find_imports(files: Files) -> Iterator[Import]:
    """Pairs of an importing and an imported file."""
    for file in files.of(*_LANGUAGES):
        for name in parse_imports(file.text):
            imported = _resolve(file.path, name, files.paths)
            if imported is not None:
                yield Import(file.path, imported)


def parse_imports(text: str) -> Iterator[str]:
    """The paths and packages that a file imports."""
    for match in _IMPORT.finditer(text):
        if name := match["double"] or match["single"]:
            yield name


def _resolve(importer: str, name: str, paths: frozenset[str]) -> str | None:
    if not name.startswith("."):
        return None
    base = join(folder_of(importer), name.partition("?")[0])
    if base is None:
        return None
    stem, dot, extension = base.rpartition(".")
    candidates = [base]
    candidates += [stem + other for other in _WRITTEN_AS.get(dot + extension, ())]
    candidates += [base + extension for extension in _EXTENSIONS]
    candidates += [f"{base}/index{extension}".lstrip("/") for extension in _EXTENSIONS]
    return next((path for path in candidates if path in paths), None)
