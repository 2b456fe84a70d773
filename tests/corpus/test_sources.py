"""Finding files: globs, folders and single files; tasks hold every file once, in order."""

from pathlib import Path

import pytest

from castline.corpus import sources
from castline.corpus.config import Source
from castline.corpus.sources import find_files, make_tasks
from castline.errors import DataError, RecipeError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "data" / "corpus" / ".castline").mkdir(parents=True)
    for name in ("corpus/report.txt", "a.txt", "b.md", "sub/c.txt", "sub/deep/d.txt", ".hidden/e.txt", "sub/.f.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data", target_is_directory=True)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("data", ["a.txt", "b.md", "sub/c.txt", "sub/deep/d.txt"]),
        ("data/", ["a.txt", "b.md", "sub/c.txt", "sub/deep/d.txt"]),
        ("data/**", ["a.txt", "b.md", "sub/c.txt", "sub/deep/d.txt"]),
        ("data/*.txt", ["a.txt"]),
        ("data/**/*.txt", ["a.txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("data/sub/*", ["c.txt"]),
        ("data/[ab].*", ["a.txt", "b.md"]),
        ("data/b.md", ["b.md"]),
        ("data/.hidden/*", ["e.txt"]),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: list[str]) -> None:
    assert [file.path for file in find_files(Source(name="s", path=pattern), tree)] == expected
    absolute = Source(name="s", path=str(tree / pattern))
    assert [file.path for file in find_files(absolute, Path("/nowhere"))] == expected


def test_names_that_look_like_globs(tmp_path: Path) -> None:
    for name in ("data [old]/a.txt", "data [old]/[1]?.txt", "data [old]/1x.txt"):
        (tmp_path / "why?" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "why?" / name).write_text(name)
    base = tmp_path / "why?"
    assert len(find_files(Source(name="s", path="data [old]"), base)) == 3
    assert [f.path for f in find_files(Source(name="s", path="data [old]/[1]?.txt"), base)] == ["[1]?.txt"]
    assert [f.path for f in find_files(Source(name="s", path="*/[0-9]*.txt"), base)] == ["data [old]/1x.txt"]


def test_what_is_no_glob(tree: Path) -> None:
    with pytest.raises((RecipeError, DataError), match="source 's': expected"):  # Python 3.13 takes *** for *
        find_files(Source(name="s", path="data/***/x"), tree)


@pytest.mark.parametrize(("pattern", "what"), [("data/*.pdf", "no file matches"), ("dta/*.txt", "there is no")])
def test_a_source_without_files_is_an_error(tree: Path, pattern: str, what: str) -> None:
    with pytest.raises(DataError, match=f"source 'web': .*{what}"):
        find_files(Source(name="web", path=pattern), tree)


@pytest.mark.parametrize("limit", [1, 12, 1000])
def test_tasks_hold_every_file_once(tree: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(sources, "TASK_BYTES", limit)
    both = (Source(name="one", path="data/**/*.txt"), Source(name="two", path="data/*.md"))
    tasks = make_tasks(both, tree)
    assert [task.index for task in tasks] == list(range(len(tasks)))
    for source in both:
        files = [file for task in tasks if task.source == source for file in task.files]
        assert files == find_files(source, tree)
    assert all(len(task.files) == 1 or task.size <= limit for task in tasks)
