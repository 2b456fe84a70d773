"""Proving a package again: what it carries is enough, and whatever was changed is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from castline.compile.build import build_package
from castline.compile.config import CompileConfig
from castline.compile.golden import read_golden
from castline.compile.package import MANIFEST, file_entry, read_manifest, write_manifest
from castline.compile.verify import read_verification, verify_package
from castline.errors import PackageError, VerificationError

from .conftest import random_llama, reference


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    random_llama(folder / "checkpoint")
    config = CompileConfig(weights="int8", targets=("cpu", "onnx"), verify_tokens=256)
    return build_package(folder / "checkpoint", folder / "package", config).package


@pytest.fixture
def package(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "package"))


def test_a_package_is_proven_again_from_what_it_carries(package: Path) -> None:
    recorded = read_verification(package, read_manifest(package))
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    found = verify_package(package)
    for name, proof in found.backends.items():
        first, again = recorded.backends[name].run, proof.run
        assert first is not None
        assert again is not None
        # Over 65 classes instead of 320, KL is less, but most of it is left.
        assert 0.5 * first.mean_kl < again.mean_kl <= first.mean_kl
        assert again.top1_agreement == first.top1_agreement
        assert again.perplexity == pytest.approx(first.perplexity, rel=1e-4)
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before


def test_the_golden_log_probabilities_are_those_of_transformers(built: Path) -> None:
    model = random_llama(built.parent / "again")
    golden = read_golden(built / "golden.safetensors")
    for index, ids in enumerate(golden.ids):
        logits = reference(model, ids.tolist()).astype(np.float64)
        expected = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        found = golden.top_log_probs[index]
        np.testing.assert_allclose(found, -np.sort(-expected, axis=-1)[:, :64], atol=1e-5)
        np.testing.assert_allclose(
            np.take_along_axis(expected, golden.top_ids[index].astype(int), -1), found, atol=1e-5
        )
        total = np.exp(found).sum(axis=-1) + np.exp(golden.rest_log_prob[index])
        np.testing.assert_allclose(total, 1, atol=1e-5)


def test_a_changed_byte_in_any_file_is_found(package: Path) -> None:
    for name in read_manifest(package).files:
        data = (package / name).read_bytes()
        changed = bytearray(data)
        changed[len(data) // 2] ^= 0x10
        (package / name).write_bytes(changed)
        with pytest.raises(PackageError, match=name.replace(".", r"\.")):
            verify_package(package)
        (package / name).write_bytes(data)
    verify_package(package)


def test_any_missing_file_is_named(package: Path) -> None:
    for name in read_manifest(package).files:
        (package / name).rename(package.parent / "away")
        with pytest.raises(PackageError, match=f"{name.replace('.', r'[.]')} is missing"):
            verify_package(package)
        (package.parent / "away").rename(package / name)


def test_a_newer_schema_is_refused(package: Path) -> None:
    values = json.loads((package / MANIFEST).read_text())
    (package / MANIFEST).write_text(json.dumps(values | {"schema_version": 2}))
    with pytest.raises(PackageError, match="newer castline"):
        verify_package(package)


def sign(package: Path, name: str) -> None:
    """Make the manifest agree with a file that was changed."""
    manifest = read_manifest(package)
    files = manifest.files | {name: file_entry(package / name)}
    write_manifest(package, manifest.model_copy(update={"files": files}))


def test_wrong_weights_under_right_hashes_fail_the_proof(package: Path) -> None:
    name = "cpu/weights.safetensors"
    tensors = load_file(package / name)
    tensors["model.layers.0.self_attn.v_proj.weight"][::2] = 0
    save_file(tensors, package / name, metadata={"castline.weights": "int8"})
    sign(package, name)
    with pytest.raises(VerificationError, match=r"cpu \(int8\): expected a mean KL of at most 0\.03"):
        verify_package(package)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("golden.safetensors", lambda data: data[: len(data) // 2]),
        ("verification.json", lambda data: b"{}"),
        ("verification.json", lambda data: b"not json"),
        ("verification.json", lambda data: data.replace(b'"cpu"', b'"npu"')),
    ],
    ids=["golden cut", "verification empty", "verification no json", "verification of another backend"],
)
def test_a_damaged_proof_under_right_hashes_is_refused(
    package: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    (package / name).write_bytes(damage((package / name).read_bytes()))
    sign(package, name)
    with pytest.raises(PackageError, match=name.replace(".", r"\.")):
        verify_package(package)


def test_an_engine_that_no_gpu_has_run_stays_pending(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    random_llama(tmp_path / "checkpoint")
    config = CompileConfig(targets=("tensorrt-rtx",), compute_capability=("8.9",), verify_tokens=128)
    package = build_package(tmp_path / "checkpoint", tmp_path / "package", config).package
    before = (package / "verification.json").read_bytes()
    proof = verify_package(package).backends["tensorrt-rtx"]
    if proof.status == "built_not_run":
        assert proof.run is None
        assert proof.graph is not None
        assert (package / "verification.json").read_bytes() == before
    else:  # a GPU is here, and its driver runs the engine
        assert proof.run is not None
        assert read_verification(package, read_manifest(package)).backends["tensorrt-rtx"].status == "passed"
        assert read_manifest(package).backends["tensorrt-rtx"].status == "passed"
        verify_package(package)
