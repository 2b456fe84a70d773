"""Real engine builds, without a GPU."""

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from castline.compile.formats import WeightFormat
from castline.compile.tensorrt import (
    EngineInfo,
    build_engine,
    check_capabilities,
    inspect_engine,
    layers_path,
    offered_capabilities,
)
from castline.compile.tensorrt_layers import read_layers
from castline.errors import CompileError, DeviceError
from castline.model.checkpoint import CheckpointReader, write_checkpoint
from castline.model.layouts import LayoutName

from .conftest import random_llama, write_onnx

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx is not installed"
)


LLAMA: dict[str, Any] = {"tie_word_embeddings": True}
INTERNLM2: dict[str, Any] = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 128}


def built(
    folder: Path, shape: dict[str, Any], *, layout: LayoutName = "llama", batch: int = 1, **options: Any
) -> EngineInfo:
    """An engine at `folder / "model.engine"`; `options` are of `[compile]`, and the context."""
    checkpoint = folder / "llama"
    random_llama(checkpoint, **shape)
    if layout != "llama":
        reader, checkpoint = CheckpointReader(checkpoint), folder / layout
        tensors = {name: reader.tensor(name) for name in reader.names()}
        write_checkpoint(checkpoint, reader.config, tensors, layout=layout)
    context = options.setdefault("context", 64)
    write_onnx(checkpoint, folder / "model.onnx", "tensorrt-rtx", **options)
    return build_engine(
        folder / "model.onnx",
        folder / "model.engine",
        target="tensorrt-rtx",
        context=context,
        batch=batch,
        capabilities=["8.9"],
    )


@pytest.mark.parametrize(
    ("layout", "options", "holds", "takes"),
    [
        ("llama", {"weights": "f32"}, {"Half"}, "Half"),
        ("llama", {"weights": "bf16"}, {"BFloat16"}, "BFloat16"),
        ("llama", {"weights": "int8"}, {"Int8"}, "Half"),
        ("llama", {"weights": "int4", "block": 32}, {"Int4", "Int8"}, "Half"),
        ("llama", {"weights": "fp8"}, {"FP8"}, "FP8"),
        ("internlm2", {"weights": "int4", "block": 128}, {"Int4", "Int8"}, "Half"),
        ("internlm2", {"weights": "fp8", "batch": 4, "context": 2048}, {"FP8"}, "FP8"),
        ("internlm2", {"weights": "f32", "embeddings": "int8", "head": "int8"}, {"Int8"}, "Half"),
    ],
    ids=[
        "f16",
        "bf16",
        "int8",
        "int4/32",
        "fp8",
        "InternLM2 int4/128",
        "InternLM2 fp8, batch of 4",
        "InternLM2 int8 outside",
    ],
)
def test_an_engine_is_built_with_native_layers(
    tmp_path: Path, layout: LayoutName, options: dict[str, Any], holds: set[str], takes: str
) -> None:
    shape = LLAMA if layout == "llama" else INTERNLM2 | {"intermediate_size": 384}
    info = built(tmp_path, shape, layout=layout, **options)
    assert (tmp_path / "model.engine").stat().st_size > 100_000
    assert info.batch == options.get("batch", 1)
    assert info.fused_attention
    assert info.layers["ATTENTION_INPUT"] == 2
    assert info.layers["ROTARY_EMBEDDING"] == 4
    assert info.layers["KV_CACHE_UPDATE"] == 4
    assert ("QUANTIZE" in info.layers) is (takes == "FP8")
    # What runs: TensorRT's attention once for each layer and phase, and no pass that unpacks weights.
    layers = read_layers(layers_path(tmp_path / "model.engine"))
    assert sum(info.kernels.values()) == len(layers)
    assert "unpacking" not in info.kernels
    attention = Counter(layer.profile for layer in layers if layer.role == "attention")
    assert attention == {0: 2, 1: 2}
    assert holds <= {kind for layer in layers for kind in layer.constants}
    # The products of a prefill take activations in the type that is computed with.
    products = [layer for layer in layers if layer.profile == 0 and layer.kind in ("gemm", "runtime_fusion")]
    inside = [layer for layer in products if any("/model/layers." in source for source in layer.sources)]
    assert len(inside) == 8
    assert all(layer.role == "product" and takes in layer.inputs for layer in inside)


@pytest.mark.parametrize("weights", ["f32", "int8", "int4"])
def test_odd_numbers_of_heads(tmp_path: Path, weights: WeightFormat) -> None:
    shape = {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 16}
    assert built(tmp_path, shape, weights=weights).fused_attention


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
