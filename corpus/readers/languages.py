"""Programming languages by file name, and of scripts by the interpreter that their first line names."""

import re
from pathlib import PurePosixPath

_BY_SUFFIX = {
    "ada": ".adb .ads",
    "assembly": ".asm .s",
    "bash": ".bash .sh .zsh",
    "c": ".c .h",
    "c++": ".cc .cpp .cxx .hh .hpp .hxx .ipp .inl .tpp",
    "c#": ".cs",
    "clojure": ".clj .cljc .cljs",
    "cmake": ".cmake",
    "common-lisp": ".lisp .lsp",
    "css": ".css .less .sass .scss",
    "cuda": ".cu .cuh",
    "cython": ".pxd .pyx",
    "dart": ".dart",
    "elixir": ".ex .exs",
    "elm": ".elm",
    "emacs-lisp": ".el",
    "erlang": ".erl .hrl",
    "f#": ".fs .fsi .fsx",
    "fortran": ".f .f03 .f08 .f77 .f90 .f95 .for",
    "go": ".go",
    "graphql": ".gql .graphql",
    "groovy": ".gradle .groovy",
    "haskell": ".hs .lhs",
    "html": ".htm .html .xhtml",
    "java": ".java",
    "javascript": ".cjs .js .jsx .mjs",
    "julia": ".jl",
    "kotlin": ".kt .kts",
    "lua": ".lua",
    "markdown": ".markdown .md .mdx",
    "matlab": ".m",
    "nim": ".nim",
    "nix": ".nix",
    "objective-c++": ".mm",
    "ocaml": ".ml .mli",
    "pascal": ".pas .pp",
    "perl": ".pl .pm .t",
    "php": ".php",
    "powershell": ".ps1 .psm1",
    "prolog": ".pro",
    "protobuf": ".proto",
    "python": ".py .pyi .pyw",
    "r": ".r .rmd",
    "racket": ".rkt",
    "restructuredtext": ".rst",
    "ruby": ".rake .rb",
    "rust": ".rs",
    "scala": ".sc .scala",
    "scheme": ".scm .ss",
    "solidity": ".sol",
    "sql": ".sql",
    "svelte": ".svelte",
    "swift": ".swift",
    "tcl": ".tcl",
    "tex": ".bib .cls .sty .tex",
    "thrift": ".thrift",
    "toml": ".toml",
    "typescript": ".cts .mts .ts .tsx",
    "verilog": ".sv .svh .v .vh",
    "vhdl": ".vhd .vhdl",
    "vue": ".vue",
    "yaml": ".yaml .yml",
    "zig": ".zig",
    # data rather than code: known, so that they are not taken for prose
    "csv": ".csv .tsv",
    "json": ".geojson .ipynb .json",
    "xml": ".svg .xml .xsd .xsl .xslt",
}
_BY_NAME = {
    "cmakelists.txt": "cmake",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "gnumakefile": "make",
    "go.mod": "go-module",
    "makefile": "make",
    "meson.build": "meson",
    "rakefile": "ruby",
}
_LANGUAGES = {suffix: language for language, suffixes in _BY_SUFFIX.items() for suffix in suffixes.split()}
_LANGUAGES |= {".mak": "make", ".mk": "make"}

_SHEBANG = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+)*)?([A-Za-z+#]+)")
_INTERPRETERS = {
    "ash": "bash",
    "bash": "bash",
    "dash": "bash",
    "deno": "typescript",
    "elixir": "elixir",
    "groovy": "groovy",
    "guile": "scheme",
    "julia": "julia",
    "ksh": "bash",
    "lua": "lua",
    "luajit": "lua",
    "make": "make",
    "node": "javascript",
    "nodejs": "javascript",
    "perl": "perl",
    "php": "php",
    "pwsh": "powershell",
    "pypy": "python",
    "python": "python",
    "racket": "racket",
    "Rscript": "r",
    "ruby": "ruby",
    "sh": "bash",
    "tclsh": "tcl",
    "wish": "tcl",
    "zsh": "bash",
}

_DATA = frozenset({"csv", "json", "xml"})


def file_language(name: str) -> str | None:
    """The language of a file with this name (without its folder), also of data files; None when unknown."""
    lower = name.lower()
    return _BY_NAME.get(lower) or _LANGUAGES.get(PurePosixPath(lower).suffix)


def programming_language(name: str) -> str | None:
    """The programming language of a file with this name; None for data files and unknown names."""
    language = file_language(name)
    return None if language in _DATA else language


def interpreter(text: str) -> str | None:
    """The language that a script's first line (`#!/usr/bin/env python3`) names."""
    match = _SHEBANG.match(text)
    return _INTERPRETERS.get(match[1]) if match else None
