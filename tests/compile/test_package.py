"""The package format: what is read back, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from castline.compile.package import (
    MANIFEST,
    Backend,
    Generation,
    Manifest,
    Provenance,
    check_files,
    check_replaceable,
    file_entries,
    read_manifest,
    write_manifest,
)
from castline.errors import PackageError, RecipeError
from castline.model.config import ModelConfig


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "cpu").mkdir(parents=True)
    (folder / "cpu" / "weights.safetensors").write_bytes(b"weights" * 100)
    (folder / "tokenizer.json").write_text("{}")
    manifest = Manifest(
        schema_version=1,
        castline_version="0.1.0",
        model=ModelConfig(vocab_size=100),
        generation=Generation(eos_ids=(2, 3), bos_id=None, max_context=64),
        tokenizer="tokenizer.json",
        files=file_entries(folder),
        backends={
            "cpu": Backend(
                weights="f32", tensors={"f32": 16}, kv="f32", status="passed", file="cpu/weights.safetensors"
            )
        },
        provenance=Provenance(checkpoint_sha256="0" * 64, compile={"weights": "f32"}),
        tools={"numpy": "2"},
    )
    write_manifest(folder, manifest)
    return folder


def edit(package: Path, **changes: Any) -> None:
    values = json.loads((package / MANIFEST).read_text())
    (package / MANIFEST).write_text(json.dumps(values | changes))


def test_a_manifest_is_read_back_as_written(package: Path) -> None:
    manifest = read_manifest(package)
    assert manifest.generation.eos_ids == (2, 3)
    assert manifest.model.vocab_size == 100
    assert set(manifest.files) == {"cpu/weights.safetensors", "tokenizer.json"}
    check_files(package, manifest)


def test_a_changed_byte_names_the_file(package: Path) -> None:
    path = package / "cpu" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[350] ^= 1
    path.write_bytes(data)
    with pytest.raises(PackageError, match=r"cpu/weights\.safetensors: its SHA-256"):
        check_files(package, read_manifest(package))


def test_a_cut_file_names_both_sizes(package: Path) -> None:
    path = package / "cpu" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PackageError, match=r"expected 700 bytes, but found 699"):
        check_files(package, read_manifest(package))


def test_a_missing_file_is_named(package: Path) -> None:
    (package / "tokenizer.json").unlink()
    with pytest.raises(PackageError, match=r"tokenizer\.json is missing"):
        check_files(package, read_manifest(package))


def test_a_newer_schema_says_to_update(package: Path) -> None:
    edit(package, schema_version=2, something_new=True)
    with pytest.raises(PackageError, match=r"expected schema version 1 or older, but found 2.*update castline"):
        read_manifest(package)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": "one"}', '{"schema_version": 1}'])
def test_a_damaged_manifest_is_refused(package: Path, content: str) -> None:
    (package / MANIFEST).write_text(content)
    with pytest.raises(PackageError, match=r"package\.json"):
        read_manifest(package)


def test_no_manifest_at_all(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="does not exist"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "cpu/../../x"])
def test_a_file_outside_the_package_is_refused(package: Path, name: str) -> None:
    edit(package, files={name: {"size": 1, "sha256": "0" * 64}})
    with pytest.raises(PackageError, match="inside the package"):
        read_manifest(package)


def test_only_a_package_or_nothing_is_replaced(package: Path, tmp_path: Path) -> None:
    check_replaceable(package)
    check_replaceable(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(RecipeError, match="found something else"):
        check_replaceable(tmp_path / "photos")
    with pytest.raises(RecipeError, match="found something else"):
        check_replaceable(tmp_path / "photos" / "one.jpg")
