"""Code trees and git repositories."""

import os
import subprocess
from pathlib import Path

import pytest

from castline.corpus.documents import Document, Reason
from castline.errors import DataError

from .samples import reasons, texts, whole


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("git") / "project"
    files = {
        "src/a.py": "x = 1\n",
        "src/b.py": "y = 2\n",
        "node_modules/c.js": "z;\n",
        ".gitignore": "d.py\n",
        "d.py": "d",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "link.py").symlink_to("src/a.py")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    git(folder, *who, "commit", "-qm", "first", "--date", "2024-01-01T00:00:00Z")
    (folder / "src" / "a.py").write_text("changed = True\n")
    git(folder, "clone", "-q", "--bare", ".", "../bare.git")
    return folder.parent


def git(folder: Path, *arguments: str) -> None:
    date = {"GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z"}
    subprocess.run(["git", *arguments], cwd=folder, check=True, env=os.environ | date, capture_output=True)


@pytest.mark.parametrize("name", ["project", "bare.git"])
def test_a_repository_gives_what_its_last_commit_holds(repository: Path, name: str) -> None:
    found = whole(repository, name, kind="code")
    assert {r.path: r.text for r in found if isinstance(r, Document)} == {"src/a.py": "x = 1\n", "src/b.py": "y = 2\n"}
    assert reasons(found) == [Reason.VENDORED]
    document = next(r for r in found if isinstance(r, Document))
    assert document.metadata["date"] == "2024-01-01T00:00:00Z"
    assert len(whole(repository, name, kind="code", vendored=True)) == 3


def test_texts_are_read_as_they_lie_there(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "new.md").write_text("not committed\n")
    git(tmp_path, "init", "-q", "notes")
    assert texts(whole(tmp_path, "notes")) == ["not committed\n"]


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "empty")
    with pytest.raises(DataError, match=r"expected a git repository with a commit, but git said: fatal: .*HEAD"):
        whole(tmp_path, "empty", kind="code")


def test_a_damaged_object_is_a_reject(repository: Path, tmp_path: Path) -> None:
    git(repository, "clone", "-q", "--no-hardlinks", "project", str(tmp_path / "copy"))
    name = subprocess.run(["git", "rev-parse", "HEAD:src/a.py"], cwd=tmp_path / "copy", capture_output=True, text=True)
    path = tmp_path / "copy" / ".git" / "objects" / name.stdout[:2] / name.stdout.strip()[2:]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    found = whole(tmp_path, "copy", kind="code")
    assert texts(found) == ["y = 2\n"]
    assert reasons(found) == [Reason.VENDORED, Reason.CORRUPT]


def test_many_repositories(repository: Path) -> None:
    found = whole(repository, "*", kind="code", format="git")
    paths = sorted(r.path for r in found if isinstance(r, Document))
    assert paths == ["bare.git/src/a.py", "bare.git/src/b.py", "project/src/a.py", "project/src/b.py"]


def test_links_to_nothing_and_to_themselves(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").write_text("x = 1\n")
    (tmp_path / "tree" / "b.py").symlink_to("nowhere.py")
    (tmp_path / "tree" / "c.py").symlink_to("c.py")
    (tmp_path / "tree" / "d").symlink_to(".", target_is_directory=True)
    found = whole(tmp_path, "tree", kind="code")
    assert texts(found) == ["x = 1\n"]
    assert reasons(found) == [Reason.BROKEN_LINK] * 2
