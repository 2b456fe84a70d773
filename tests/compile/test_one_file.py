"""A package as one file: opened as it is, the same bytes every time, refused when anything of it is changed."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from castline import _C
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.inspect import inspect_path
from castline.compile.one_file import as_folder, members
from castline.compile.pack import pack, unpack
from castline.compile.package import MANIFEST, check_files, read_manifest
from castline.compile.rebuild import rebuild_engines
from castline.compile.score import Ids, score
from castline.compile.verify import verify_package
from castline.errors import CastlineError, PackageError, RecipeError

from .conftest import random_ids, random_llama, write_tokenizer

FAST = CompileConfig(targets=("cpu", "onnx"), verify_tokens=64)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    random_llama(folder / "checkpoint")
    write_tokenizer(folder / "checkpoint")
    return build_package(folder / "checkpoint", folder / "package", FAST).package


@pytest.fixture(scope="module")
def one_file(package: Path) -> Path:
    assert not pack(package, package.parent / "model.castline")
    return package.parent / "model.castline"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_file_is_the_package(package: Path, one_file: Path) -> None:
    manifest = read_manifest(one_file)
    assert manifest == read_manifest(package)
    check_files(one_file, manifest)
    ids = random_ids(20)
    engine, folder_engine = _C.Engine(one_file), _C.Engine(package)
    engine.verify()
    assert (engine.logits(ids) == folder_engine.logits(ids)).all()
    assert engine.tokenizer is not None
    assert score(one_file, Ids([ids], nested=False)) == score(package, Ids([ids], nested=False))
    assert score(one_file, "some text") == score(package, "some text")
    assert inspect_path(one_file).facts == inspect_path(package).facts


def test_its_proof_is_run_again(package: Path, one_file: Path) -> None:
    with as_folder(one_file) as folder:
        assert verify_package(folder) == verify_package(package)
        assert contents(folder) == contents(package)
    assert not folder.exists()


def test_other_tools_take_it_apart(package: Path, one_file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(one_file) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == MANIFEST
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        archive.extractall(tmp_path / "library")
    assert contents(tmp_path / "library") == contents(package)
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-q", str(one_file), "-d", str(tmp_path / "unzip")], check=True)
        assert contents(tmp_path / "unzip") == contents(package)


def test_every_file_lies_on_a_page_of_its_own(package: Path, one_file: Path) -> None:
    data = one_file.read_bytes()
    for name, member in members(one_file).items():
        assert member.offset % 4096 == 0
        assert data[member.offset : member.offset + member.size] == (package / name).read_bytes()


def test_the_same_package_gives_the_same_bytes_however_it_came(package: Path, one_file: Path, tmp_path: Path) -> None:
    unpack(one_file, tmp_path / "folder")
    assert contents(tmp_path / "folder") == contents(package)
    os.utime(tmp_path / "folder" / MANIFEST, (1, 1_700_000_000))
    pack(tmp_path / "folder", tmp_path / "again.castline")
    assert (tmp_path / "again.castline").read_bytes() == one_file.read_bytes()
    summary = build_package(package.parent / "checkpoint", tmp_path / "built.castline", FAST)
    assert (tmp_path / "built.castline").read_bytes() == one_file.read_bytes()
    assert build_package(package.parent / "checkpoint", summary.package, FAST).reused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.castline", "built.castline", "folder"]


def test_what_is_there_is_reused_or_replaced_by_force_only(package: Path, one_file: Path, tmp_path: Path) -> None:
    assert pack(package, one_file)
    assert not unpack(one_file, tmp_path / "folder")
    assert unpack(one_file, tmp_path / "folder")
    int8 = FAST.model_copy(update={"weights": "int8", "targets": ("cpu",)})
    other = build_package(package.parent / "checkpoint", tmp_path / "other", int8).package
    shutil.copy(one_file, tmp_path / "model.castline")
    with pytest.raises(RecipeError, match="holds another package"):
        pack(other, tmp_path / "model.castline")
    with pytest.raises(RecipeError, match="holds another package"):
        unpack(one_file, other)
    assert not pack(other, tmp_path / "model.castline", force=True)
    assert read_manifest(tmp_path / "model.castline") == read_manifest(other)
    (tmp_path / "letter.castline").write_text("dear friend")
    with pytest.raises(RecipeError, match="found something else"):
        pack(package, tmp_path / "letter.castline", force=True)
    with pytest.raises(RecipeError, match=r"ends in \.castline"):
        pack(package, tmp_path / "model.zip")
    with pytest.raises(PackageError, match="one file already"):
        pack(one_file, tmp_path / "x.castline")
    with pytest.raises(PackageError, match="found something else"):
        unpack(package, tmp_path / "x")
    with pytest.raises(PackageError, match="unpack it first"):
        rebuild_engines(one_file)
    with pytest.raises(RecipeError, match="whose name does not end"):
        unpack(one_file, tmp_path / "x.castline")


def opens(path: Path) -> bool:
    """Whether Python and C++ open the file and find every hash right; no other error than castline's may come."""
    answers = []
    for look in (lambda: check_files(path, read_manifest(path)), lambda: _C.Engine(path).verify()):
        try:
            look()
            answers.append(True)
        except CastlineError:
            answers.append(False)
    assert answers[0] == answers[1], path
    return answers[0]


def test_a_changed_byte_is_found_wherever_it_is(one_file: Path, tmp_path: Path) -> None:
    """One byte in every header field, in the directory, and in each file's data."""
    whole = one_file.read_bytes()
    found = sorted(members(one_file).values())
    directory = found[-1].offset + found[-1].size
    places = set(range(42)) | set(range(directory, len(whole))) if len(whole) - directory < 300 else set(range(42))
    places |= set(range(directory, len(whole), 7)) | {
        at for member in found for at in (member.offset, member.offset + member.size - 1)
    }
    path = tmp_path / "changed.castline"
    harmless = 0
    for at in sorted(places):
        changed = bytearray(whole)
        changed[at] ^= 0x41
        path.write_bytes(changed)
        if opens(path):  # what no reader looks at: versions, dates, attributes
            assert at < 42 or at >= directory
            harmless += 1
    assert harmless < len(places) / 2


def test_a_cut_file_is_refused(one_file: Path, tmp_path: Path) -> None:
    whole = one_file.read_bytes()
    path = tmp_path / "cut.castline"
    for length in (4, 30, 4096, len(whole) // 2, len(whole) - 23, len(whole) - 22, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not opens(path)
    path.write_bytes(whole + b"\0")
    assert not opens(path)


def rewritten(one_file: Path, path: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], None]) -> Path:
    """The archive again, every member written by `change`, its data still at multiples of 4096."""
    with zipfile.ZipFile(one_file) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            fresh = zipfile.ZipInfo(entry.filename)
            change(new, fresh, old.read(entry))
    return path


def aligned(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
    assert archive.fp is not None
    gap = -(archive.fp.tell() + 30 + len(entry.filename.encode()) + 4) % 4096
    entry.extra = struct.pack("<HH", 0xD935, gap) + bytes(gap)
    archive.writestr(entry, content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("none", ""),
        ("compressed", "neither compressed nor encrypted"),
        ("unaligned", "at a multiple of 4096"),
        ("twice", "every member once"),
        ("outside", "paths of files inside the package"),
        ("absolute", "paths of files inside the package"),
        ("unlisted", "only the files that package.json lists"),
        ("missing", "verification.json"),
        ("comment", "without a comment"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_of_other_kinds_are_refused(one_file: Path, tmp_path: Path, damage: str, message: str) -> None:
    def change(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        if damage == "missing" and entry.filename == "verification.json":
            return
        if damage == "compressed" and entry.filename == "tokenizer.json":
            entry.compress_type = zipfile.ZIP_DEFLATED
        if damage == "unaligned" and entry.filename == "tokenizer.json":
            archive.writestr(entry, content)
            return
        aligned(archive, entry, content)
        if entry.filename == MANIFEST:
            names = {"twice": MANIFEST, "outside": "../evil", "absolute": "/evil", "unlisted": "evil.txt"}
            if damage in names:
                aligned(archive, zipfile.ZipInfo(names[damage]), content)
            if damage == "comment":
                archive.comment = b"hello"

    path = rewritten(one_file, tmp_path / "x.castline", change)
    if damage == "none":
        assert opens(path)
        return
    assert not opens(path)
    with pytest.raises(PackageError, match=message):
        check_files(path, read_manifest(path))
    with pytest.raises(PackageError, match=message):
        _C.Engine(path)


def test_zip64_sizes_are_read(package: Path, tmp_path: Path) -> None:
    """The library writes a member's sizes as ZIP64 when it is told to, small as they are."""
    names = [MANIFEST, *read_manifest(package).files]
    with zipfile.ZipFile(tmp_path / "x.castline", "w") as archive:
        assert archive.fp is not None
        for name in names:
            entry = zipfile.ZipInfo(name)
            gap = -(archive.fp.tell() + 30 + len(name) + 4 + 20) % 4096
            entry.extra = struct.pack("<HH", 0xD935, gap) + bytes(gap)
            with archive.open(entry, "w", force_zip64=True) as member:
                member.write((package / name).read_bytes())
    assert opens(tmp_path / "x.castline")


def test_the_command_line(package: Path, one_file: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> dict[str, object]:
        command = [sys.executable, "-c", "from castline.cli.main import main; main()", *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    made = run("pack", package, "--out", tmp_path / "model.castline")
    assert made == {"package": str(tmp_path / "model.castline"), "bytes": one_file.stat().st_size, "reused": False}
    options = ("--prompt", "abc", "--max-tokens", 8)
    by_file, by_folder = run("run", tmp_path / "model.castline", *options), run("run", package, *options)
    assert by_file["ids"] == by_folder["ids"]
    assert run("verify", tmp_path / "model.castline")["verification"]
