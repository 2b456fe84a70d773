"""Damaged, incomplete and foreign packages: each refused with one message that says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from package_writer import TINY, random_tensors, write_package

from castline._C import Engine
from castline.errors import DataError, PackageError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "package", TINY, random_tensors(TINY))


def edit(package: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = package / "package.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_no_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"package\.json, at .*nowhere.* `castline compile` makes one"):
        Engine(tmp_path / "nowhere")


def test_a_newer_schema(package: Path) -> None:
    edit(package, lambda m: m.update(schema_version=2))
    with pytest.raises(PackageError, match=r"schema_version 1 or older .* but got 2: .*made by a newer castline"):
        Engine(package)


def test_a_missing_file(package: Path) -> None:
    (package / "cpu/weights.safetensors").unlink()
    with pytest.raises(PackageError, match=r"expected the file cpu/weights\.safetensors"):
        Engine(package)


def test_a_changed_size(package: Path) -> None:
    weights = package / "cpu/weights.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(PackageError, match=f"{size} bytes as package.json says, but it has {size - 64}"):
        Engine(package)


def test_a_changed_byte_is_found_by_verify(package: Path) -> None:
    Engine(package).verify()
    weights = package / "cpu/weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    engine = Engine(package)  # opening checks the manifest and the sizes
    with pytest.raises(PackageError, match=r"cpu/weights\.safetensors to have the SHA-256 [0-9a-f]{64} .* has"):
        engine.verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("generation"), "'generation'"),
        (lambda m: m["model"].pop("rope_theta"), "'rope_theta'"),
        (lambda m: m["model"].update(hidden_size="48"), "hidden_size.*an integer"),
        (lambda m: m["model"].update(hidden_size=0), "hidden_size.*from 1"),
        (lambda m: m["model"].update(num_key_value_heads=4), "multiple of num_key_value_heads, but got 6 and 4"),
        (lambda m: m["model"].update(rope_scaling={"rope_type": "yarn"}), "rope_type .* but got 'yarn'"),
        (lambda m: m["model"].update(hidden_size=64), r"expected the shape \[300, 64\] .* but got \[300, 48\]"),
        (lambda m: m["model"].update(num_hidden_layers=3), r"model\.layers\.2\..* missing"),
        (lambda m: m["model"].update(num_hidden_layers=1), r"model\.layers\.1\..*but got this one"),
        (lambda m: m["generation"].update(eos_ids=[300]), "eos_ids.*below vocab_size = 300, but got 300"),
        (lambda m: m["generation"].update(max_context=0), "max_context.*at least 1"),
        (lambda m: m["generation"].update(rope_theta=0), "rope_theta.*above 0"),
        (lambda m: m["generation"].update(rope_theta="x"), "rope_theta.*a number"),
        (lambda m: m["files"].update({"../x": {"size": 1, "sha256": ""}}), "a path inside the package"),
        (lambda m: m["files"].pop("cpu/weights.safetensors"), "lists no such file"),
    ],
)
def test_a_manifest_that_is_wrong(package: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    edit(package, change)
    with pytest.raises(PackageError, match=message):
        Engine(package)


def test_dynamic_scaling_beyond_the_trained_length_needs_its_base(tmp_path: Path) -> None:
    config = TINY | {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
    package = write_package(tmp_path, config, random_tensors(config), generation={"max_context": 512})
    with pytest.raises(PackageError, match=r"rope_theta, .* context of 512 beyond max_position_embeddings = 256"):
        Engine(package)
    edit(package, lambda m: m["generation"].update(rope_theta=30_000.0))
    assert Engine(package).info()["max_context"] == 512


def test_nan_in_the_weights(tmp_path: Path) -> None:
    tensors = random_tensors(TINY)
    tensors["model.norm.weight"][3] = np.nan
    engine = Engine(write_package(tmp_path, TINY, tensors))
    with pytest.raises(DataError, match="finite logits"):
        engine.generate([1, 2, 3])
