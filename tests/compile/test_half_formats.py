"""The graphs that TensorRT computes in bfloat16 and in fp8, run in ONNX Runtime: what a package's proof measures."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ml_dtypes import float8_e4m3fn
from onnx import TensorProto

from castline.compile.onnx_bf16 import rounded_to_bfloat16
from castline.compile.onnx_runtime import OnnxModel
from castline.compile.quantize import fp8_scale, quantize_fp8

from .conftest import random_ids, random_llama, reference, write_onnx


@pytest.mark.parametrize("decode", [0, 9])
def test_a_bfloat16_graph_rounds_as_pytorch_does_in_bfloat16(tmp_path: Path, decode: int) -> None:
    model = random_llama(tmp_path / "checkpoint")
    write_onnx(tmp_path / "checkpoint", tmp_path / "model.onnx", "tensorrt-rtx", weights="bf16")
    ids = random_ids(40)
    exact = reference(model, ids)
    found = OnnxModel(tmp_path / "model.onnx", threads=1).logits(ids, decode=decode)
    rounded = model.to(torch.bfloat16)(torch.tensor([ids])).logits[0].float().numpy()
    # Both err by bfloat16's 2^-9 for each of a few dozen roundings in a row: as much as each other, and not less.
    error, usual = np.abs(found - exact).mean(), np.abs(rounded - exact).mean()
    assert 0.3 * usual < error < 1.5 * usual


def test_a_rounded_graph_is_valid_and_in_float32(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint", tie_word_embeddings=True)
    write_onnx(tmp_path / "checkpoint", tmp_path / "model.onnx", "tensorrt-rtx", weights="bf16")
    model = rounded_to_bfloat16(onnx.load(tmp_path / "model.onnx"))
    onnx.checker.check_model(model, full_check=True)
    kinds = {value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]}
    assert kinds == {TensorProto.INT64, TensorProto.FLOAT}


def test_products_in_fp8_take_activations_in_fp8(tmp_path: Path) -> None:
    model = random_llama(tmp_path / "checkpoint")
    write_onnx(tmp_path / "checkpoint", tmp_path / "model.onnx", "tensorrt-rtx", weights="fp8")
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    nodes = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.node
    # q, k and v share their inputs, gate and up do: four roundings of activations for each layer.
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) == 2 * 4
    ids = random_ids(40)
    exact = reference(model, ids)
    found = OnnxModel(tmp_path / "model.onnx", threads=1).logits(ids, decode=7)
    # E4M3 has 3 bits behind the point: each factor is within 2^-4, and sums of them average that out.
    assert 0 < np.abs(found - exact).mean() < 2**-4 * np.abs(exact).max()
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.98


def test_scales_keep_small_rows_and_ranges_precise() -> None:
    matrix = np.array([[1e-4, -3e-5, 5e-6], [4e2, 1.0, -7.0], [0, 0, 0]], np.float32)
    quantized, scale = quantize_fp8(matrix)
    assert quantized.dtype == np.dtype(float8_e4m3fn)
    assert (scale.astype(np.float16) >= np.finfo(np.float16).tiny).all()
    values = quantized.astype(np.float32) * scale[:, None]
    normal = np.abs(matrix) >= scale[:, None] * 2**-6  # E4M3's smallest normal number
    np.testing.assert_allclose(values[normal], matrix[normal], rtol=2**-4)
    assert float(fp8_scale(np.float32(448))) == 1
