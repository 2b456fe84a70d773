"""How a repository becomes documents: the order of its files, and where it is divided.

Code comes in the order of its imports. The documentation of a folder stands before the first code file in it or
below it, the README first; that of folders without code comes last. Documents are filled in this order up to
the budget and divided between files only, so a file over the budget is a document of its own.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from castline.corpus.code.imports import find_imports
from castline.corpus.code.imports.files import CodeFile, ancestors, folder_of
from castline.corpus.code.markdown import section
from castline.corpus.code.order import import_order

DOCUMENTATION = frozenset({"markdown", "restructuredtext"})


def arrange(files: Sequence[CodeFile]) -> list[CodeFile]:
    """The files of one repository, in the order in which they are packed; it does not depend on the order given."""
    by_path = {file.path: file for file in files}
    documentation: dict[str, list[str]] = defaultdict(list)
    for path in sorted(by_path, key=_documentation_order):
        if by_path[path].language in DOCUMENTATION:
            documentation[folder_of(path)].append(path)
    code = [file for file in files if file.language not in DOCUMENTATION]
    order: list[str] = []
    for path in import_order(find_imports(code)):
        for folder in reversed(list(ancestors(folder_of(path)))):
            order += documentation.pop(folder, [])
        order.append(path)
    for folder in sorted(documentation):
        order += documentation[folder]
    return [by_path[path] for path in order]


def divide(files: Sequence[CodeFile], budget: int) -> Iterator[list[CodeFile]]:
    """The documents that the files become: as many in a row as `budget` bytes hold, at least one each."""
    group: list[CodeFile] = []
    size = 0
    for file in files:
        bytes_of_file = len("".join(section(file)).encode()) + len(file.text.encode())
        if group and size + bytes_of_file > budget:
            yield group
            group, size = [], 0
        group.append(file)
        size += bytes_of_file
    if group:
        yield group


def _documentation_order(path: str) -> tuple[bool, str]:
    return not path.rpartition("/")[2].lower().startswith("readme"), path
