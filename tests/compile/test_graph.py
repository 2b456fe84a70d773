"""The ONNX graph in ONNX Runtime against transformers, and what the file is made of."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from castline.compile.formats import Target, WeightFormat
from castline.compile.graph import read_graph_weights
from castline.compile.onnx_runtime import OnnxModel
from castline.errors import CheckpointError, CompileError
from castline.model.checkpoint import CheckpointReader

from .conftest import random_ids, random_llama, reference, write_onnx


def empty_caches(session: onnxruntime.InferenceSession, batch: int, length: int) -> dict[str, NDArray[np.float32]]:
    caches = [value for value in session.get_inputs() if value.name.startswith("past_key_values.")]
    return {cache.name: np.zeros((batch, cache.shape[1], length, cache.shape[3]), np.float32) for cache in caches}


@pytest.mark.parametrize(
    "shape",
    [
        {"num_attention_heads": 4, "num_key_value_heads": 2},
        {
            "hidden_size": 72,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 16,
            "tie_word_embeddings": True,
        },
        {"hidden_size": 72, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64, "rope_theta": 1e6},
        {"num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 50, "head_dim": 10, "rms_norm_eps": 1e-3},
    ],
    ids=["gqa", "three kv heads, tied", "one kv head of 64", "odd sizes"],
)
@pytest.mark.parametrize("decode", [0, 7, 40], ids=["prefill", "prefill and decode", "decode"])
def test_logits_equal_those_of_transformers(tmp_path: Path, shape: dict[str, float], decode: int) -> None:
    model = random_llama(tmp_path / "checkpoint", **shape)
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph)
    ids = random_ids(40)
    logits = OnnxModel(graph, threads=1).logits(ids, decode=decode)
    np.testing.assert_allclose(logits, reference(model, ids), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("weights", "target"),
    [(weights, "onnx") for weights in ("f32", "f16", "bf16", "int8", "int4", "fp8")]
    + [(weights, "tensorrt-rtx") for weights in ("f32", "int8", "int4")],
)
@pytest.mark.parametrize("tied", [False, True])
def test_the_checker_accepts_it(tmp_path: Path, weights: WeightFormat, target: Target, tied: bool) -> None:
    random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied)
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, target, weights=weights)
    onnx.checker.check_model(str(graph), full_check=True)
    model = onnx.load(graph, load_external_data=False)
    assert (model.opset_import[0].version, model.ir_version) == (24, 11)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "/model/layers.1/mlp/down_proj/MatMul" in names
    initializers = {tensor.name for tensor in model.graph.initializer}
    assert set(CheckpointReader(tmp_path / "checkpoint").names()) <= initializers
    assert ("lm_head.weight" in initializers) is not tied
    operators = {node.op_type for node in model.graph.node}
    assert {"Attention", "RotaryEmbedding", "TensorScatter", "RMSNormalization"} <= operators
    assert ("DequantizeLinear" in operators) is (weights in ("int8", "int4"))


def test_half_precision_is_close_to_the_checkpoint(tmp_path: Path) -> None:
    model = random_llama(tmp_path / "checkpoint")
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, "tensorrt-rtx")
    ids = random_ids(40)
    expected = reference(model, ids)
    error = np.abs(OnnxModel(graph, threads=1).logits(ids, decode=5) - expected).max()
    assert 0 < error < 2e-2 * np.abs(expected).max()


def as_fp8(matrix: torch.Tensor) -> torch.Tensor:
    scale = matrix.abs().amax(dim=1, keepdim=True) / 448
    return (matrix / scale).to(torch.float8_e4m3fn).float() * scale


ROUNDED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "f32": lambda matrix: matrix,
    "f16": lambda matrix: matrix.half().float(),
    "bf16": lambda matrix: matrix.bfloat16().float(),
    "fp8": as_fp8,
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weights", ["f16", "bf16", "fp8"])
def test_weights_stored_in_fewer_bits_are_computed_with_in_full(tmp_path: Path, weights: str, tied: bool) -> None:
    model = random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied)
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, weights=weights, embeddings=weights, head=None if tied else weights)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:  # rows of fp8 cannot be looked up: embeddings are f16 then
            stored = "f16" if weights == "fp8" and "embed_tokens" in name else weights
            parameter.copy_(ROUNDED[stored](parameter))
    ids = random_ids(30)
    np.testing.assert_allclose(OnnxModel(graph, threads=1).logits(ids, decode=5), reference(model, ids), atol=1e-4)


def test_a_format_for_every_matrix(tmp_path: Path) -> None:
    model = random_llama(tmp_path / "checkpoint")
    graph = tmp_path / "model.onnx"
    tensors = {"*.q_proj.*": "bf16", "*.layers.1.mlp.*": "fp8", "*.layers.0.mlp.up_proj.*": "f16"}
    write_onnx(tmp_path / "checkpoint", graph, embeddings="f16", head="bf16", tensors=tensors)
    onnx.checker.check_model(str(graph), full_check=True)
    fitting = {"embed_tokens": "f16", "lm_head": "bf16", "q_proj": "bf16", "1.mlp": "fp8", "0.mlp.up_proj": "f16"}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            stored = next((kind for part, kind in fitting.items() if part in name), "f32")
            parameter.copy_(ROUNDED[stored](parameter))
            assert torch.equal(torch.from_numpy(read_graph_weights(graph)(name)), parameter), name
    ids = random_ids(30)
    np.testing.assert_allclose(OnnxModel(graph, threads=1).logits(ids, decode=5), reference(model, ids), atol=1e-4)


@pytest.mark.parametrize("half", [False, True])
def test_int8_weights_are_within_half_a_step_of_the_checkpoint(checkpoint: Path, tmp_path: Path, half: bool) -> None:
    reader = CheckpointReader(checkpoint)
    write_onnx(checkpoint, tmp_path / "model.onnx", "tensorrt-rtx" if half else "onnx", weights="int8")
    stored = read_graph_weights(tmp_path / "model.onnx")
    for name in reader.names():
        original = reader.tensor(name).numpy()
        difference = np.abs(stored(name) - original)
        if original.ndim == 2:
            # Half a step of max / 127, and in half precision the rounding of the scale over at most 127 steps.
            row_max = np.abs(original).max(axis=1, keepdims=True)
            assert (difference <= row_max * (0.5 / 127 + (2**-11 if half else 1e-6))).all(), name
            assert difference.max() > 0
        else:
            assert difference.max() <= (2**-11 * np.abs(original).max() if half else 0)


@pytest.mark.parametrize("tied", [False, True])
def test_the_int8_graph_computes_with_the_dequantised_weights(tmp_path: Path, tied: bool) -> None:
    model = random_llama(tmp_path / "checkpoint", tie_word_embeddings=tied)
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, weights="int8")
    for parameter in model.parameters():
        if parameter.dim() == 2:
            step = parameter.abs().amax(dim=1, keepdim=True) / 127
            parameter.copy_((parameter / step).round() * step)
    ids = random_ids(30)
    # As the operators are defined: optimised, ONNX Runtime would round activations to int8, too.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {
        "input_ids": np.array([ids]),
        "position_ids": np.arange(30)[None],
        "write_indices": np.array([0]),
        "logits_indices": np.arange(30),
    }
    logits = session.run(["logits"], inputs | empty_caches(session, 1, 30))[0][0]
    np.testing.assert_allclose(logits, reference(model, ids), atol=1e-4, rtol=0)


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    digests = []
    for folder in ("a", "b"):
        write_onnx(checkpoint, tmp_path / folder / "m.onnx", "tensorrt-rtx", weights="int8")
        files = sorted((tmp_path / folder).iterdir())
        digests.append([(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files])
    assert digests[0] == digests[1]
    assert [name for name, _ in digests[0]] == ["m.onnx", "m.onnx.data"]


def test_a_batch_of_sequences_of_different_lengths(checkpoint: Path, tmp_path: Path) -> None:
    """Rows padded on the right do not disturb each other: the mask hides what lies behind a row's position."""
    graph = tmp_path / "model.onnx"
    write_onnx(checkpoint, graph)
    alone = OnnxModel(graph, threads=1)
    long, short = random_ids(12), random_ids(5, seed=1)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    caches = empty_caches(session, 2, 20)
    inputs = {
        "input_ids": np.array([long, short + [0] * 7]),
        "position_ids": np.stack([np.arange(12)] * 2),
        "write_indices": np.zeros(2, np.int64),
        "logits_indices": np.arange(12),
    }
    first, *caches_after = session.run(None, inputs | caches)
    np.testing.assert_allclose(first[0], alone.logits(long), atol=1e-5)
    np.testing.assert_allclose(first[1, :5], alone.logits(short), atol=1e-5)
    # The next token of each row goes where the row ends, over what the padding wrote.
    following = {
        "input_ids": np.array([[7], [9]]),
        "position_ids": np.array([[12], [5]]),
        "write_indices": np.array([12, 5]),
        "logits_indices": np.array([0]),
    }
    second = session.run(["logits"], following | dict(zip(caches, caches_after, strict=True)))[0]
    np.testing.assert_allclose(second[0], alone.logits([*long, 7])[-1:], atol=1e-5)
    np.testing.assert_allclose(second[1], alone.logits([*short, 9])[-1:], atol=1e-5)


def test_a_nan_in_the_weights_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    model = random_llama(tmp_path / "checkpoint")
    model.model.layers[1].mlp.up_proj.weight[3, 4] = float("nan")
    model.save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match=r"model\.layers\.1\.mlp\.up_proj\.weight.*1 NaN"):
        write_onnx(tmp_path / "checkpoint", tmp_path / "out" / "m.onnx")
    assert list((tmp_path / "out").iterdir()) == []


def test_onnx_runtime_says_why_it_refuses_a_graph(tmp_path: Path) -> None:
    node = onnx.helper.make_node("NoSuchOperator", [], ["b"])
    graph = onnx.helper.make_graph([node], "g", [], [])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 24)], ir_version=11)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(CompileError, match="NoSuchOperator"):
        OnnxModel(tmp_path / "model.onnx")
