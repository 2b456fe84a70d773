"""Real engine builds, without a GPU."""

import importlib.util
from pathlib import Path

import pytest

from castline.compile.formats import WeightFormat
from castline.compile.tensorrt import build_engine, check_capabilities, inspect_engine, offered_capabilities
from castline.errors import CompileError, DeviceError

from .conftest import random_llama, write_onnx

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx is not installed"
)


@pytest.mark.parametrize("weights", ["f16", "int8", "int4"])
@pytest.mark.parametrize(
    "shape",
    [
        {"tie_word_embeddings": True},
        {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 16},
        {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 128},
    ],
    ids=["tied", "three kv heads of 16", "one kv head of 128"],
)
def test_an_engine_is_built_with_native_layers(tmp_path: Path, weights: WeightFormat, shape: dict[str, int]) -> None:
    random_llama(tmp_path / "checkpoint", **shape)
    graph, engine = tmp_path / "model.onnx", tmp_path / "model.engine"
    write_onnx(tmp_path / "checkpoint", graph, "tensorrt-rtx", weights=weights)
    info = build_engine(graph, engine, target="tensorrt-rtx", context=64, batch=2, capabilities=["8.0", "8.9"])
    assert engine.stat().st_size > 100_000
    assert info.compute_capabilities == ["8.0", "8.9"]
    assert info.fused_attention
    assert info.layers["ATTENTION_INPUT"] == 2
    assert info.layers["ROTARY_EMBEDDING"] == 4
    assert info.layers["KV_CACHE_UPDATE"] == 4
    assert ("DEQUANTIZE" in info.layers) is (weights in ("int8", "int4"))


def test_attention_without_a_fused_kernel_is_decomposed(tmp_path: Path) -> None:
    random_llama(tmp_path / "checkpoint", num_attention_heads=2, num_key_value_heads=1)
    graph = tmp_path / "model.onnx"
    write_onnx(tmp_path / "checkpoint", graph, "tensorrt-rtx")
    info = build_engine(graph, tmp_path / "m.engine", target="tensorrt-rtx", context=64, batch=1, capabilities=["8.9"])
    assert not info.fused_attention


def test_all_offered_capabilities_are_the_default() -> None:
    offered = offered_capabilities("tensorrt-rtx")
    assert {"8.0", "8.6", "8.9", "12.0"} <= set(offered)
    assert check_capabilities("tensorrt-rtx", ()) == offered
    assert check_capabilities("tensorrt-rtx", ("8.9",)) == ["8.9"]


def test_an_unknown_capability_is_refused_with_the_list() -> None:
    with pytest.raises(CompileError, match=r"9\.9.*8\.0, 8\.6"):
        check_capabilities("tensorrt-rtx", ("8.9", "9.9"))


def test_a_refused_graph_carries_the_builders_own_words(checkpoint: Path, tmp_path: Path) -> None:
    graph, engine = tmp_path / "model.onnx", tmp_path / "m.engine"
    write_onnx(checkpoint, graph)
    # float32 matrices have no kernel on the oldest GPUs.
    with pytest.raises(CompileError, match=r"(?s)cannot build an engine.*it said:.*FP32 GEMM"):
        build_engine(graph, engine, target="tensorrt-rtx", context=64, batch=1, capabilities=["7.5"])
    assert not engine.exists()


def test_a_damaged_graph_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    write_onnx(checkpoint, graph, "tensorrt-rtx")
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(CompileError, match=r"(?s)cannot read the graph.*model\.onnx\.data") as raised:
        build_engine(graph, tmp_path / "m.engine", target="tensorrt-rtx", context=64, batch=1, capabilities=["8.9"])
    assert "Make sure input" not in str(raised.value)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_a_missing_library_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(DeviceError, match=r"pip install 'castline\[tensorrt\]'"):
        offered_capabilities("tensorrt")


def test_inspecting_needs_an_engine_that_loads_here(tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(b"not an engine")
    with pytest.raises(DeviceError, match=r"cannot load model\.engine on this machine; it said"):
        inspect_engine(tmp_path / "model.engine", "tensorrt-rtx")
