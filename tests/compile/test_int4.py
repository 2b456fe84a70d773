"""Int4 weights: grids, points chosen from data, the layout in files, and packages of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from castline.compile.build import build_package
from castline.compile.config import Bounds, CompileConfig
from castline.compile.cpu_weights import read_cpu_weights
from castline.compile.formats import Target
from castline.compile.gptq import gptq
from castline.compile.graph import read_graph_weights
from castline.compile.inspect import inspect_path
from castline.compile.int4_layout import pack_int4, unpack_int4
from castline.compile.quantize import Int4Matrix, int4_grid, round_int4
from castline.compile.text_tokens import calibration_tokens
from castline.errors import CompileError
from castline.model.checkpoint import CheckpointReader

from .conftest import VOCABULARY, random_llama, write_cpu, write_onnx, write_tokenizer

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 9), st.sampled_from([32, 64, 128]), st.booleans())


def random_matrix(rows: int, size: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.standard_normal((rows, size)) * 2.0 ** random.integers(-8, 4, (rows, 1))).astype(np.float32)


@settings(deadline=None)
@given(SHAPES)
def test_rounding_stays_within_half_a_step_of_the_blocks_range(shape: tuple[int, int, int, bool]) -> None:
    rows, blocks, block, symmetric = shape
    matrix = random_matrix(rows, 32 * blocks)
    matrix[0, :5] = 0
    found = round_int4(matrix, block, symmetric=symmetric)
    assert found.q.max() <= 15
    assert not symmetric or (found.grid.zero == 8).all()
    restored = found.values()
    assert (restored[matrix == 0] == 0).all()
    for start in range(0, 32 * blocks, block):
        part, back = matrix[:, start : start + block], restored[:, start : start + block]
        low, high = np.minimum(part.min(axis=1), 0), np.maximum(part.max(axis=1), 0)
        step = np.maximum(high / 7, -low / 8) if symmetric else (high - low) / 15
        # Half a step, and what the step's own rounding to float16 and the zero's to a whole number may add.
        assert (np.abs(back - part) <= step[:, None] * (0.5 if symmetric else 1.0) * 1.02 + 1e-6).all()


@settings(deadline=None)
@given(SHAPES)
def test_every_weight_lies_where_the_kernels_look_for_it(shape: tuple[int, int, int, bool]) -> None:
    rows, blocks, block, symmetric = shape
    size = 32 * blocks
    matrix = round_int4(random_matrix(rows, size), block, symmetric=symmetric)
    layout = pack_int4(matrix)
    stored = layout.q.reshape(-1)
    for row, at in {(0, 0), (rows - 1, size - 1), (rows // 2, size // 3), (rows // 3, 4), (0, 28)}:
        group, channel = divmod(row, 16)
        part, element = divmod(at, 32)
        byte = stored[((group * blocks + part) * 4 + element // 8) * 64 + channel * 4 + element % 4]
        assert (byte >> 4 if element % 8 >= 4 else byte & 15) == matrix.q[row, at]
        assert layout.scale[group, at // block, channel] == matrix.grid.scale[row, at // block]
        assert layout.zero[group, at // block, channel] == matrix.grid.zero[row, at // block]
    back = unpack_int4(layout, rows, block)
    assert np.array_equal(back.q, matrix.q)
    assert np.array_equal(back.values(), matrix.values())
    spare = -rows % 16
    assert not spare or (layout.scale[-1, :, -spare:] == 0).all()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("size", "block"), [(160, 32), (160, 128), (256, 64)])
def test_gptq_keeps_a_layers_outputs_closer_than_rounding(size: int, block: int, symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    mixed = torch.randn(size, size, generator=generator) * torch.logspace(0, -2, size)[:, None]
    inputs = torch.randn(2000, size, generator=generator) @ mixed
    matrix = torch.randn(48, size, generator=generator)
    fitted = gptq(matrix, inputs.T @ inputs, block, symmetric=symmetric).values()
    rounded = round_int4(matrix.numpy(), block, symmetric=symmetric).values()

    def error(values: np.ndarray) -> float:
        return float(((torch.from_numpy(values) - matrix) @ inputs.T).square().sum())

    assert error(fitted) < 0.5 * error(rounded)


def test_gptq_rounds_where_inputs_have_nothing_in_common() -> None:
    matrix = torch.from_numpy(random_matrix(20, 96))
    importance = torch.linspace(3, 1, 96)
    importance[7] = 0  # an input that is always zero
    found = gptq(matrix, torch.diag(importance), 32)
    # Points that are as near to half-way as float32 tells may go to either side.
    nearest = found.grid.round(matrix.numpy())
    assert (found.q == nearest).mean() > 0.999
    spanning = int4_grid(matrix.numpy(), 32)

    def error(matrix_on_grid: Int4Matrix) -> float:
        return float(((matrix_on_grid.values() - matrix.numpy()) ** 2 @ importance.numpy()).sum())

    assert error(found) < error(Int4Matrix(spanning.round(matrix.numpy()), spanning))


@pytest.mark.parametrize("block", [32, 128])
def test_files_hold_the_same_matrices(checkpoint: Path, tmp_path: Path, block: int) -> None:
    reader = CheckpointReader(checkpoint)
    write_cpu(checkpoint, tmp_path / "cpu", weights="int4", block=block)
    stored = {"cpu": read_cpu_weights(tmp_path / "cpu", reader.config)}
    targets: tuple[Target, ...] = ("onnx", "tensorrt-rtx")
    for target in targets:
        path = tmp_path / f"{target}.onnx"
        write_onnx(checkpoint, path, target, weights="int4", block=block)
        stored[target] = read_graph_weights(path)
    name = "model.layers.1.mlp.down_proj.weight"
    original = reader.tensor(name).numpy()
    anywhere, middle = (round_int4(original, block, symmetric=symmetric).values() for symmetric in (False, True))
    assert np.array_equal(stored["cpu"](name), anywhere)
    assert np.array_equal(stored["onnx"](name), anywhere)
    np.testing.assert_allclose(stored["tensorrt-rtx"](name), middle, rtol=1e-6)
    for head in ("lm_head.weight", "model.embed_tokens.weight"):
        np.testing.assert_allclose(stored["cpu"](head), reader.tensor(head).numpy(), atol=0.02)


def test_a_package_says_how_its_weights_were_chosen_and_that_they_hold(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint")
    write_tokenizer(tmp_path / "checkpoint")
    text = tmp_path / "text.jsonl"
    lines = [f"Line {n} of a text about {n * n} things that are not there." for n in range(100)]
    text.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    config = CompileConfig(
        weights="int4",
        block=64,
        targets=("cpu", "onnx"),
        calibration_text=text,
        calibration_tokens=4096,
        bounds=Bounds(int4=0.5),
        verify_tokens=128,
    )
    fitted = build_package(tmp_path / "checkpoint", tmp_path / "fitted", config)
    rounding = config.model_copy(update={"calibration": "none"})
    rounded = build_package(tmp_path / "checkpoint", tmp_path / "rounded", rounding)
    for name in ("cpu", "onnx"):
        said = fitted.manifest.backends[name].quantization
        assert said is not None
        assert "blocks of 64, GPTQ on" in said
        assert "text.jsonl" in said
        assert "rounded to nearest" in str(rounded.manifest.backends[name].quantization)
        proofs = [summary.verification.backends[name].run for summary in (fitted, rounded)]
        assert proofs[0] is not None
        assert proofs[1] is not None
        assert proofs[0].mean_kl < proofs[1].mean_kl
    shown = inspect_path(tmp_path / "fitted").facts["backends"]["cpu"]
    assert shown["quantization"] == fitted.manifest.backends["cpu"].quantization
    again = build_package(tmp_path / "checkpoint", tmp_path / "again", config)
    assert again.manifest.files["cpu/weights.safetensors"] == fitted.manifest.files["cpu/weights.safetensors"]


def test_text_to_calibrate_on(checkpoint: Path, tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint")

    def choose(text: Path | None) -> object:
        return calibration_tokens(tmp_path / "checkpoint", tokens=1024, context=64, vocab_size=VOCABULARY, text=text)

    assert choose(None) is None
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(CompileError, match=r"calibration over .*needs a tokenizer"):
        choose(tmp_path / "short.txt")
    write_tokenizer(tmp_path / "checkpoint")
    with pytest.raises(CompileError, match="expected 64 tokens or more for calibration, but it has 5"):
        choose(tmp_path / "short.txt")
    (tmp_path / "broken.jsonl").write_text('{"text": "good"}\n{"body": "bad"}\n')
    with pytest.raises(CompileError, match=r"broken\.jsonl:2: expected an object with a string `text`"):
        choose(tmp_path / "broken.jsonl")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"intermediate_size": 168}, {"targets": ("cpu",)}, r"rows of a multiple of 32 .*down_proj.weight have 168"),
        ({}, {"targets": ("tensorrt-rtx",), "block": 128}, r"--block 128: .*divide the rows.* take --block 64"),
        (
            {"hidden_size": 128, "intermediate_size": 128},
            {"targets": ("tensorrt-rtx",), "compute_capability": ("7.5", "8.9")},
            r"int4 needs compute capability 8.0 or newer, but --compute-capability holds 7.5",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(
    tmp_path: Path, changes: dict[str, int], options: dict[str, object], message: str
) -> None:
    if "tensorrt-rtx" in str(options):
        pytest.importorskip("tensorrt_rtx")
    random_llama(tmp_path / "checkpoint", **changes)
    config = CompileConfig.model_validate({"weights": "int4", **options})
    with pytest.raises(CompileError, match=message):
        build_package(tmp_path / "checkpoint", tmp_path / "package", config)
    assert not (tmp_path / "package").exists()
