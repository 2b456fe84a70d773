"""Files that no person wrote: told by their names, and by how the programs that write them sign.

Signs are sought at the beginning only: a file that says further down that others are generated is none.
"""

import re

_HEAD = 2000  # characters

_NAMES = re.compile(
    r"""(?:
      [._]pb2(?:_grpc)?\.pyi? | \.pb(?:\.gw)?\.go | \.pb\.(?:cc|h) | _pb\.(?:js|d\.ts|ts)
    | \.designer\.(?:cs|vb) | \.g(?:\.i)?\.cs | \.(?:g|freezed)\.dart
    | [._]generated\.\w+ | ^zz_generated.*\.go | \.gen\.\w+ | ^bindata\.go
    | \.tab\.(?:c|cc|h) | ^lex\.yy\.c | ^(?:moc|qrc)_.*\.cpp | ^ui_.*\.h
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
_SIGNS = re.compile(
    r"""\bcode\ generated\ by\b.{0,200}\bdo\ not\ edit\b
    | \b(?:auto-?|automatically\ )generated\ (?:by|from|file|code|with)\b
    | \b(?:generated|made)\ by\ (?:the\ )?(?:protocol\ buffer\ compiler|antlr|autoconf|automake|bindgen|bison|cbindgen|
        cmake|cython|f2py|flatbuffers|flex|gnu\ bison|javacc|mockgen|openapi|pyrcc|ragel|re2c|stringer|swagger|swig|
        thrift)\b
    | \b(?:file|code|module|class|header)\ (?:is|was|has\ been)\ (?:auto-?|automatically\ )?generated\b
    | \bdo\ not\ (?:edit|modify)\ (?:this\ file|manually|by\ hand|directly)\b
    | (?<!\w)@generated\b""",
    re.IGNORECASE | re.VERBOSE,
)


def is_generated(path: str, text: str) -> bool:
    """Whether a program wrote the file."""
    return _NAMES.search(path.rpartition("/")[2]) is not None or _SIGNS.search(text[:_HEAD]) is not None
