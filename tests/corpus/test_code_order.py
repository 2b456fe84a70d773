"""The order of files: imported before importer wherever no cycle forbids it, on random graphs and real packages."""

import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castline.corpus.code.imports import ImportGraph, find_imports
from castline.corpus.code.imports.files import CodeFile, folder_of
from castline.corpus.code.layout import DOCUMENTATION, arrange, divide
from castline.corpus.code.order import import_groups, import_order
from castline.corpus.readers.languages import programming_language

SITE_PACKAGES = Path(pytest.__file__).parents[1]
ROOT = Path(__file__).resolve().parents[2]

NAMES = [f"{folder}{name}.py" for folder in ("", "a/", "a/b/", "c/") for name in "klmn"]
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.booleans()), max_size=60)


def graph_of(edges: list[tuple[str, str, bool]]) -> ImportGraph:
    graph = ImportGraph({name: set() for name in NAMES}, {name: set() for name in NAMES})
    for importer, imported, deferred in edges:
        if importer != imported:
            graph.all[importer].add(imported)
            if not deferred:
                graph.firm[importer].add(imported)
    return graph


def reachable(imports: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        new = imports[todo.pop()] - found
        found |= new
        todo += new
    return found


def check_order(order: list[str], graph: ImportGraph) -> int:
    """Every file once, and behind what it imports unless that imports it in turn; returns how many imports held."""
    assert sorted(order) == sorted(graph.all)
    place = {path: number for number, path in enumerate(order)}
    held = 0
    for importer in order:
        for imported in graph.all[importer]:
            if importer not in reachable(graph.all, imported):
                assert place[imported] < place[importer], f"{imported} is imported by {importer}"
                held += 1
    return held


@given(edges=EDGES)
def test_imported_files_come_first_outside_cycles(edges: list[tuple[str, str, bool]]) -> None:
    graph = graph_of(edges)
    order = import_order(graph)
    check_order(order, graph)
    for group in import_groups(graph.all):
        assert all(set(group) <= reachable(graph.all, path) | {path} for path in group)
    # where only deferred imports close the cycles, the firm ones hold
    place = {path: number for number, path in enumerate(order)}
    for importer in order:
        for imported in graph.firm[importer]:
            around = importer in reachable(graph.all, imported)
            if around and importer not in reachable(graph.firm, imported):
                assert place[imported] < place[importer]


@given(edges=EDGES, seed=st.integers(0, 100))
def test_the_order_does_not_depend_on_the_order_given(edges: list[tuple[str, str, bool]], seed: int) -> None:
    shuffled = random.Random(seed).sample(edges, len(edges))
    graph = graph_of(edges)
    mixed = random.Random(seed).sample(NAMES, len(NAMES))
    other = ImportGraph({name: graph_of(shuffled).all[name] for name in mixed}, graph_of(shuffled).firm)
    assert import_order(graph) == import_order(other)


def test_cycles_are_broken_where_least_is_missing() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("d", "a")]
    imports: dict[str, set[str]] = {name: set() for name in "abcd"}
    for importer, imported in edges:
        imports[importer].add(imported)
    # a and b miss one file each, c two; with a placed, c still misses b
    assert import_order(ImportGraph(imports, imports)) == ["a", "b", "c", "d"]
    assert list(import_groups(imports)) == [["a", "b", "c"], ["d"]]
    # an import that can wait does not count inside the cycle
    firm = {**imports, "a": set[str](), "c": {"a"}}
    assert import_order(ImportGraph(imports, firm)) == ["a", "c", "b", "d"]


def test_a_long_chain_is_no_deep_recursion() -> None:
    imports = {f"{n:06d}": {f"{n + 1:06d}"} for n in range(5_000)} | {"005000": set()}
    assert import_order(ImportGraph(imports, imports)) == [f"{n:06d}" for n in range(5_000, -1, -1)]


def read_repository(root: Path, below: str = "") -> list[CodeFile]:
    files = []
    for path in sorted((root / below).rglob("*")):
        language = programming_language(path.name)
        if language and path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="replace")
            files.append(CodeFile(path.relative_to(root).as_posix(), language, text))
    return files


REPOSITORIES = {
    "python: jinja2": (SITE_PACKAGES, "jinja2", 10),
    "python: hypothesis": (SITE_PACKAGES, "hypothesis", 50),
    "python: the email package": (Path(sysconfig.get_path("stdlib")), "email", 20),
    "c++: our core": (ROOT, "csrc", 150),
    "c++: pybind11's headers": (SITE_PACKAGES, "pybind11/include", 50),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_real_packages(name: str) -> None:
    root, below, at_least = REPOSITORIES[name]
    files = read_repository(root, below)
    arranged = [file.path for file in arrange(files)]
    shuffled = random.Random(1).sample(files, len(files))
    assert [file.path for file in arrange(shuffled)] == arranged
    graph = find_imports([file for file in files if file.language not in DOCUMENTATION])
    order = [path for path in arranged if path in graph.all]
    assert check_order(order, graph) >= at_least
    assert sorted(arranged) == sorted(file.path for file in files)


def test_documentation_stands_before_the_first_code_of_its_folder() -> None:
    texts = {
        "README.md": "# All",
        "setup.py": "import lib.core",
        "lib/core.py": "",
        "lib/NOTES.md": "notes",
        "lib/README.rst": "Lib",
        "lib/sub/README.md": "sub",
        "lib/sub/leaf.py": "import lib.core",
        "docs/guide/index.md": "guide",
        "docs/a.md": "a",
    }
    names = {".md": "markdown", ".rst": "restructuredtext", ".py": "python"}
    files = [CodeFile(path, names[Path(path).suffix], text) for path, text in texts.items()]
    assert [file.path for file in arrange(files)] == [
        "README.md",
        "lib/README.rst",
        "lib/NOTES.md",
        "lib/core.py",
        "lib/sub/README.md",
        "lib/sub/leaf.py",
        "setup.py",
        "docs/a.md",
        "docs/guide/index.md",
    ]


FILES = st.dictionaries(
    st.sampled_from([f"{folder}/{name}" for folder in ("x", "x/y") for name in ("README.md", "a.py", "b.py", "c.md")]),
    st.text(alphabet="ab`~\n é", max_size=60),
    min_size=1,
)


@given(texts=FILES, budget=st.integers(1, 300))
def test_documents_keep_to_the_budget_and_to_the_order(texts: dict[str, str], budget: int) -> None:
    files = [CodeFile(path, programming_language(Path(path).name) or "", text) for path, text in texts.items()]
    arranged = arrange(files)
    documents = list(divide(arranged, budget))
    assert [file for group in documents for file in group] == arranged
    assert {folder_of(file.path) for file in files} == {folder_of(file.path) for file in arranged}
    sizes = [sum(len(file.text.encode()) for file in group) for group in documents]
    assert all(len(group) == 1 or size <= budget for group, size in zip(documents, sizes, strict=True))
