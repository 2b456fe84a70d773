"""Code trees and git repositories."""

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from castline.corpus.documents import Document, Reason, Reject
from castline.errors import DataError

from .samples import make_tar, reasons, texts, whole


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


def test_real_scripts_without_an_ending(tmp_path: Path) -> None:
    """Installed commands and one of Python's own, and what may lie beside them that is no script."""
    tree = tmp_path / "tree"
    tree.mkdir()
    scripts = {"git-submodule": "bash", "prove": "perl", "ldd": "bash", "base64": "python"}
    found = {name: _real_script(name) for name in scripts} | {"base64": Path(base64.__file__).read_bytes()}
    for name, content in found.items():
        if content:
            (tree / name).write_bytes(content)
    (tree / "tool.in").write_bytes(b"#! /usr/bin/env -S node --harmony\nlet a = 1;\n")
    (tree / "python").write_bytes(Path(sys.executable).resolve().read_bytes()[: 3 << 20])
    (tree / "LICENSE").write_text("Permission is granted.\n")
    (tree / "answer").write_bytes(b"#!/opt/unknown/interpreter\n42\n")
    (tree / "empty").write_bytes(b"")
    (tree / "old.py.gz").write_bytes(b"no gzip")
    (tree / "backup.gz").write_bytes(b"no gzip either")
    records = whole(tmp_path, "tree", kind="code", encoding="utf-8")
    languages = {record.path: record.language for record in records if isinstance(record, Document)}
    assert languages == {name: scripts[name] for name, content in found.items() if content} | {"tool.in": "javascript"}
    rejected = {record.where: record.reason for record in records if isinstance(record, Reject)}
    unknown = ("python", "LICENSE", "answer", "empty", "backup.gz")
    assert rejected == dict.fromkeys(unknown, Reason.UNKNOWN_LANGUAGE) | {"old.py.gz (byte 0)": Reason.CORRUPT}
    packed = make_tar({f"bin/{name}": content for name, content in found.items() if content}, "w:gz")
    (tmp_path / "a.tar.gz").write_bytes(packed)
    assert texts(whole(tmp_path, "a.tar.gz", kind="code")) == [c.decode() for c in found.values() if c]


def _real_script(name: str) -> bytes:
    """What a command's file holds, if there is one and it is a script."""
    folders = [Path("/usr/lib/git-core"), Path("/usr/bin")]
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    content = path.read_bytes() if path else b""
    return content if content.startswith(b"#!") else b""


_ROOT_WITHOUT_POWERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def test_what_must_not_be_looked_at_is_said(tmp_path: Path) -> None:
    for name in ("open/a.txt", "closed/b.txt", "listed/c.txt", "deep/closed/d.txt", "deep/e.md"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    modes = {"closed": 0o000, "listed": 0o400, "deep/closed": 0o100}
    for name, mode in modes.items():
        (tmp_path / "data" / name).chmod(mode)
    found = {}
    try:
        for pattern in ("data", "data/**/*.txt", "data/*/*.txt", "data/open/*.txt"):
            found[pattern] = _read_without_powers(tmp_path, pattern)
    finally:
        for name in modes:
            (tmp_path / "data" / name).chmod(0o700)
    closed = ["unreadable closed/", "unreadable deep/closed/", "unreadable listed/c.txt", "open/a.txt"]
    assert found == {
        "data": sorted([*closed, "deep/e.md"]),
        "data/**/*.txt": sorted(closed),
        "data/*/*.txt": sorted(["unreadable closed/", "unreadable listed/c.txt", "open/a.txt"]),
        "data/open/*.txt": ["open/a.txt"],
    }


def _read_without_powers(folder: Path, pattern: str) -> list[str]:
    """What a source gives to a user who is bound by the modes of files."""
    prefix = _ROOT_WITHOUT_POWERS if os.geteuid() == 0 else ()
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("as root, modes of files bind only with the command setpriv")
    code = (
        "import sys; from pathlib import Path; from castline.corpus.config import Source;"
        "from castline.corpus.readers.read import read_files; from castline.corpus.sources import find_files;"
        "source = Source(name='s', path=sys.argv[2]);"
        "records = read_files(source, tuple(find_files(source, Path(sys.argv[1]))));"
        "print(*sorted(getattr(r, 'text', '') or f'{r.reason} {r.where}' for r in records), sep='\\n')"
    )
    command = [*prefix, sys.executable, "-c", code, str(folder), pattern]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
