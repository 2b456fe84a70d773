"""Checkpoint to package: what is built, what is reused, and that nothing unproven or half-written appears."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from castline import _C
from castline.compile import cpu_weights
from castline.compile.build import build_package, dry_run
from castline.compile.config import Bounds, CompileConfig
from castline.compile.formats import WeightFormat
from castline.compile.inspect import inspect_path
from castline.compile.package import file_entries, read_manifest
from castline.compile.verify import verify_package
from castline.errors import CheckpointError, CompileError, RecipeError, VerificationError
from castline.model.checkpoint import CheckpointReader, write_checkpoint
from castline.recipe import parse

from .conftest import random_ids, random_llama, reference, write_tokenizer

FAST = CompileConfig(targets=("cpu", "onnx"), verify_tokens=128)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("weights", ["f32", "int8", "int4"])
def test_every_backend_is_built_and_proven(checkpoint: Path, tmp_path: Path, weights: WeightFormat) -> None:
    pytest.importorskip("tensorrt_rtx")
    config = CompileConfig(
        weights=weights, targets=("cpu", "onnx", "tensorrt-rtx"), context=96, compute_capability=("8.9",)
    )
    summary = build_package(checkpoint, tmp_path / "package", config)
    assert leftovers(tmp_path) == ["package"]
    manifest = read_manifest(tmp_path / "package")
    assert manifest == summary.manifest
    assert manifest.files == file_entries(tmp_path / "package")
    assert manifest.generation.max_context == 96
    assert (manifest.generation.eos_ids, manifest.generation.bos_id) == ((2,), 1)
    assert manifest.tokenizer is None
    assert manifest.not_reproducible == ("tensorrt-rtx/model.engine", "tensorrt-rtx/model.layers.json")
    bounds = {"f32": 1e-5, "f16": 1e-2, "int8": 0.03, "int4": 0.1}
    for name, status in {"cpu": "passed", "onnx": "passed", "tensorrt-rtx": "built_not_run"}.items():
        stored: WeightFormat = "f16" if (name, weights) == ("tensorrt-rtx", "f32") else weights
        backend, proof = manifest.backends[name], summary.verification.backends[name]
        assert (backend.status, backend.weights) == (status, stored)
        assert (proof.status, proof.bound) == (status, bounds[stored])
        measured = proof.graph if name == "tensorrt-rtx" else proof.run
        assert measured is not None
        assert measured.mean_kl <= bounds[stored]
        assert measured.tokens == 1056  # 11 sequences of the 96 tokens that the context allows
        assert summary.sizes[name] >= (tmp_path / "package" / backend.file).stat().st_size
    assert manifest.backends["tensorrt-rtx"].engine is not None
    assert manifest.backends["tensorrt-rtx"].engine["compute_capabilities"] == ["8.9"]


def test_the_packages_cpu_engine_computes_what_transformers_computes(tmp_path: Path) -> None:
    changes = {"hidden_size": 72, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 10}
    model = random_llama(tmp_path / "checkpoint", tie_word_embeddings=True, vocab_size=319, **changes)
    build_package(tmp_path / "checkpoint", tmp_path / "package", FAST)
    ids = random_ids(60, 319)
    logits = _C.Engine(tmp_path / "package").logits(ids)
    np.testing.assert_allclose(logits, reference(model, ids), atol=1e-4, rtol=0)


def test_internlm2s_layout_gives_the_same_package_files(checkpoint: Path, tmp_path: Path) -> None:
    reader = CheckpointReader(checkpoint)
    tensors = {name: reader.tensor(name) for name in reader.names()}
    write_checkpoint(tmp_path / "internlm2", reader.config, tensors, layout="internlm2")
    llama = build_package(checkpoint, tmp_path / "a", FAST)
    internlm2 = build_package(tmp_path / "internlm2", tmp_path / "b", FAST)
    assert llama.manifest.files == internlm2.manifest.files
    assert llama.manifest.provenance != internlm2.manifest.provenance


def test_the_same_inputs_give_the_same_bytes_on_any_number_of_threads(checkpoint: Path, tmp_path: Path) -> None:
    config = FAST.model_copy(update={"weights": "int8"})
    packages = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            packages.append(build_package(checkpoint, tmp_path / f"{threads}" / "package", config))
        finally:
            torch.set_num_threads(1)
    assert packages[0].manifest == packages[1].manifest
    first, second = (Path(package.package) / "package.json" for package in packages)
    assert first.read_bytes() == second.read_bytes()


def test_the_tokenizers_files_come_along(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint")
    write_tokenizer(tmp_path / "checkpoint")
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    (tmp_path / "checkpoint" / "chat_template.jinja").write_text(template)
    summary = build_package(tmp_path / "checkpoint", tmp_path / "package", FAST)
    assert summary.manifest.tokenizer == "tokenizer.json"
    assert (tmp_path / "package" / "tokenizer" / "chat_template.jinja").read_text() == template
    assert summary.verification.source == "castline's sample text"
    engine = _C.Engine(tmp_path / "package")
    assert engine.tokenizer is not None
    assert engine.tokenizer.vocab_size == 257


def test_a_tokenizer_larger_than_the_embeddings_is_refused(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint", vocab_size=200)
    write_tokenizer(tmp_path / "checkpoint")
    with pytest.raises(CompileError, match=r"at most 200 tokens.*has 257"):
        build_package(tmp_path / "checkpoint", tmp_path / "package", FAST)


def test_a_package_of_the_same_inputs_is_reused(checkpoint: Path, tmp_path: Path) -> None:
    first = build_package(checkpoint, tmp_path / "package", FAST)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "package").rglob("*")}
    again = build_package(checkpoint, tmp_path / "package", FAST)
    assert not first.reused
    assert again.reused
    assert (again.manifest, again.verification) == (first.manifest, first.verification)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "package").rglob("*")} == before


def test_a_package_of_other_inputs_is_replaced_by_force_only(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "package"
    build_package(checkpoint, out, FAST)
    other = FAST.model_copy(update={"weights": "int8", "context": 64})
    with pytest.raises(RecipeError, match=r"weights \(was 'f32', now 'int8'\); context \(was 128, now 64\)"):
        build_package(checkpoint, out, other)
    random_llama(tmp_path / "checkpoint", seed=9)
    with pytest.raises(RecipeError, match=r"these differ: the checkpoint\. "):
        build_package(tmp_path / "checkpoint", out, FAST)
    assert read_manifest(out).backends["cpu"].weights == "f32"
    assert not build_package(checkpoint, out, other, force=True).reused
    assert read_manifest(out).backends["cpu"].weights == "int8"
    assert leftovers(tmp_path) == ["checkpoint", "package"]


def test_force_replaces_no_other_folder(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(RecipeError, match="something else"):
        build_package(checkpoint, tmp_path / "thesis", FAST, force=True)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


def test_over_the_bound_it_is_packaged_only_where_that_is_allowed_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    config = FAST.model_copy(update={"weights": "int8", "bounds": Bounds(int8=0)})
    out = tmp_path / "package"
    summary = build_package(checkpoint, out, config, allow_unverified=True)
    manifest = read_manifest(out)
    assert manifest.unverified == ("cpu", "onnx")
    assert {backend.status for backend in manifest.backends.values()} == {"failed"}
    assert summary.verification.backends["cpu"].status == "failed"
    assert {backend["status"] for backend in inspect_path(out).facts["backends"].values()} == {"failed"}
    assert inspect_path(out).facts["unverified"] == ["cpu", "onnx"]
    assert build_package(checkpoint, out, config, allow_unverified=True).reused
    with pytest.raises(VerificationError, match=r"made .* with --allow-unverified.*: cpu, onnx"):
        build_package(checkpoint, out, config)
    with pytest.raises(VerificationError, match=r"cpu \(int8\): expected a mean KL of at most 0"):
        verify_package(out)


def test_over_the_bound_nothing_is_shipped_and_the_layer_is_named(checkpoint: Path, tmp_path: Path) -> None:
    config = FAST.model_copy(update={"weights": "int8", "bounds": Bounds(int8=0)})
    with pytest.raises(VerificationError) as raised:
        build_package(checkpoint, tmp_path / "package", config)
    message = str(raised.value)
    assert raised.value.exit_code == 5
    assert "cpu (int8): expected a mean KL of at most 0 over 128 tokens, but measured" in message
    assert "onnx (int8): expected" in message
    assert "the layer to blame is" in message
    assert leftovers(tmp_path) == []


def test_an_old_package_survives_a_new_one_that_fails(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "package"
    build_package(checkpoint, out, FAST)
    before = (out / "package.json").read_bytes()
    with pytest.raises(VerificationError):
        build_package(
            checkpoint, out, FAST.model_copy(update={"weights": "int8", "bounds": Bounds(int8=0)}), force=True
        )
    assert (out / "package.json").read_bytes() == before
    assert leftovers(tmp_path) == ["package"]


def test_a_writer_that_damages_one_tensor_is_caught_and_the_tensor_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cpu_weights.quantize_int8
    damaged = "model.layers.1.mlp.up_proj.weight"
    shape = (160, 64)
    seen = []

    def damage(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        quantized, scale = whole(matrix)
        if matrix.shape == shape:
            seen.append(matrix)
            if len(seen) == 4:  # gate and up of layer 0, gate and up of layer 1
                quantized[:, ::2] = 0
        return quantized, scale

    monkeypatch.setattr(cpu_weights, "quantize_int8", damage)
    with pytest.raises(VerificationError) as raised:
        build_package(checkpoint, tmp_path / "package", FAST.model_copy(update={"weights": "int8"}))
    assert "cpu (int8)" in str(raised.value)
    assert "onnx" not in str(raised.value)
    assert "the layer to blame is model.layers.1:" in str(raised.value)
    assert f"the worst tensor is {damaged}, relative error 0.7" in str(raised.value)
    assert leftovers(tmp_path) == []


def test_exact_weights_put_the_blame_on_the_arithmetic(checkpoint: Path, tmp_path: Path) -> None:
    config = CompileConfig(targets=("tensorrt-rtx",), compute_capability=("8.9",), bounds=Bounds(f16=0))
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(VerificationError, match=r"tensorrt-rtx \(f16\): expected a mean KL of at most 0"):
        build_package(checkpoint, tmp_path / "package", config)


def test_a_format_that_a_target_does_not_take_becomes_the_nearest_and_is_recorded(
    checkpoint: Path, tmp_path: Path
) -> None:
    made = build_package(checkpoint, tmp_path / "package", FAST.model_copy(update={"weights": "fp8"}))
    backend = made.manifest.backends["cpu"]
    assert backend.weights == "int8"
    assert backend.tensors == {"f16": 2, "int8": 14}
    assert made.verification.backends["cpu"].bound == Bounds().int8


@pytest.mark.parametrize(
    ("changes", "tensors"),
    [
        ({"weights": "f16"}, {"f16": 16}),
        ({"weights": "bf16", "head": "int4"}, {"bf16": 15, "int4/32": 1}),
        ({"weights": "int4", "block": 64, "embeddings": "f16", "head": "bf16"}, {"f16": 1, "int4/64": 14, "bf16": 1}),
        ({"weights": "int8", "embeddings": "int4", "head": "f32"}, {"int4/32": 1, "int8": 14, "f32": 1}),
    ],
    ids=["f16", "bf16", "int4", "int8"],
)
def test_the_cpu_takes_any_format_anywhere(
    checkpoint: Path, tmp_path: Path, changes: dict[str, str], tensors: dict[str, int]
) -> None:
    config = parse(CompileConfig, {**changes, "targets": ["cpu"], "verify_tokens": 128}, "recipe")
    manifest = build_package(checkpoint, tmp_path / "package", config).manifest
    backend = manifest.backends["cpu"]
    assert (backend.weights, backend.tensors) == (changes["weights"], tensors)
    info = _C.Engine(tmp_path / "package").info()
    assert info["weights"] == changes["weights"]
    kinds: dict[str, int] = {}
    for name, count in tensors.items():
        kinds[name.partition("/")[0]] = kinds.get(name.partition("/")[0], 0) + count
    assert info["tensors"] == kinds


def test_an_int8_cache_is_proven_with_the_package_and_takes_a_quarter(checkpoint: Path, tmp_path: Path) -> None:
    config = FAST.model_copy(update={"kv": "int8"})
    summary = build_package(checkpoint, tmp_path / "int8", config)
    assert summary.manifest.generation.kv == "int8"
    assert {name: backend.kv for name, backend in summary.manifest.backends.items()} == {"cpu": "int8", "onnx": "f32"}
    proofs = summary.verification.backends
    assert (proofs["cpu"].bound, proofs["onnx"].bound) == (0.03, 1e-5)
    build_package(checkpoint, tmp_path / "f32", FAST)
    found = [_C.Engine(tmp_path / kv) for kv in ("int8", "f32")]
    assert [engine.info()["kv"] for engine in found] == ["int8", "f32"]
    ids = random_ids(60, 320)
    difference = np.abs(found[0].logits(ids) - found[1].logits(ids)).max()
    assert 0 < difference < 0.05
    plans = [dry_run(checkpoint, FAST.model_copy(update={"kv": kv, "context": 96}))[1] for kv in ("int8", "f32")]
    # Two layers of two heads of 16: a key or value is 16 bytes and a scale of 2, or 64 bytes.
    assert [plan.cache_bytes["cpu"] for plan in plans] == [2 * 2 * 2 * 96 * 18, 2 * 2 * 2 * 96 * 64]
    assert plans[0].cache_bytes["onnx"] == plans[1].cache_bytes["onnx"]


def test_what_cannot_be_is_refused_before_anything_is_written(checkpoint: Path, tmp_path: Path) -> None:
    for changes, match in (
        ({"context": 129}, "expected 2 to 128, the model's max_position_embeddings"),
        ({"context": 1}, "expected 2 to 128"),
        ({"kv": "int8", "targets": ("onnx",)}, "--kv int8 is the CPU runtime's cache: expected cpu among the targets"),
    ):
        with pytest.raises(CompileError, match=match):
            build_package(checkpoint, tmp_path / "package", FAST.model_copy(update=changes))
    with pytest.raises(RecipeError, match=r"compute_capability.*such as '8\.9', but got 'ampere'"):
        parse(CompileConfig, {"compute_capability": ["ampere"]}, "recipe")
    with pytest.raises(RecipeError, match="did you mean 'weights'"):
        parse(CompileConfig, {"weight": "int8"}, "recipe")
    assert leftovers(tmp_path) == []


def test_nan_in_the_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    model = random_llama(tmp_path / "checkpoint")
    model.model.norm.weight[5] = float("nan")
    model.save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight.*1 NaN"):
        build_package(tmp_path / "checkpoint", tmp_path / "out" / "package", FAST)
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize("weights", ["f32", "int8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_dry_run_knows_the_sizes(tmp_path: Path, weights: WeightFormat, tied: bool) -> None:
    random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied, hidden_size=128, vocab_size=4096)
    config = FAST.model_copy(update={"weights": weights, "bounds": Bounds(int4=1.0)})
    _, plan = dry_run(tmp_path / "checkpoint", config)
    assert plan.config.context == 128
    assert plan.cache_bytes["cpu"] == 2 * 2 * 2 * 32 * 128 * 4  # k and v, layers, heads, head size, tokens, bytes
    summary = build_package(tmp_path / "checkpoint", tmp_path / "package", config)
    assert plan.sizes["cpu"] == summary.sizes["cpu"]
    assert plan.sizes["onnx"] == pytest.approx(summary.sizes["onnx"], rel=0.1)


BUILD = """
import sys
from pathlib import Path
from castline.compile.build import build_package
from castline.compile.config import CompileConfig
build_package(Path(sys.argv[1]), Path(sys.argv[2]), CompileConfig(targets=("cpu", "onnx"), verify_tokens=20000))
"""


def test_a_dry_run_counts_the_graph_and_the_weights_in_the_engine(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    random_llama(tmp_path / "checkpoint", hidden_size=128, vocab_size=4096)
    config = FAST.model_copy(update={"targets": ("tensorrt-rtx",), "compute_capability": ("8.9",), "batch": 3})
    _, plan = dry_run(tmp_path / "checkpoint", config)
    assert plan.cache_bytes["tensorrt-rtx"] == 3 * 2 * 2 * 2 * 32 * 128 * 2  # sequences, as above, half precision
    package = build_package(tmp_path / "checkpoint", tmp_path / "package", config).package / "tensorrt-rtx"
    weights = (package / "model.onnx.data").stat().st_size
    assert plan.sizes["tensorrt-rtx"] == pytest.approx(2 * weights, rel=0.1)
    assert (package / "model.engine").stat().st_size > weights


def test_a_file_that_cannot_grow_is_a_device_error_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    limited = subprocess.run(
        [sys.executable, "-c", BUILD, str(checkpoint), str(tmp_path / "package")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "castline.errors.DeviceError: no space left" in limited.stderr
    assert leftovers(tmp_path) == []


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(checkpoint: Path, tmp_path: Path) -> None:
    program = "from castline.cli.main import main; main()"
    options = ["--out", str(tmp_path / "package"), "--target", "cpu,onnx", "--set", "compile.verify_tokens=20000"]
    command = [sys.executable, "-c", program, "compile", str(checkpoint), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "package.partial/steps/built-cpu.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    kept = tmp_path / "package.partial"
    assert stderr == f"interrupted: what is finished is kept in {kept}; run the same command again to go on\n"
    assert leftovers(tmp_path) == ["package.partial"]

    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert f"going on with the unfinished work in {kept}: built-cpu" in resumed.stderr
    assert leftovers(tmp_path) == ["package"]
    fresh = CompileConfig(targets=("cpu", "onnx"), verify_tokens=20000)
    assert build_package(checkpoint, tmp_path / "fresh", fresh).manifest == read_manifest(tmp_path / "package")
