"""The backends of a package as functions from token ids to logits, and their weights as they were stored."""

from pathlib import Path

from castline import _C
from castline.compile.blame import TensorByName
from castline.compile.cpu_weights import read_cpu_weights
from castline.compile.fidelity import Float32, LogitsOf
from castline.compile.graph import read_graph_weights
from castline.compile.graph_contrib import read_contrib_weights
from castline.compile.onnx_runtime import OnnxModel
from castline.compile.package import read_manifest
from castline.errors import DeviceError

CPU_WEIGHTS = "cpu/weights.safetensors"

# So many tokens of a sequence go through ONNX Runtime one by one: the proof covers decoding, too.
_DECODED = 16


def open_measurable(package: Path, name: str) -> LogitsOf:
    """The backend itself, or, for a TensorRT target, the graph its engine is built from in ONNX Runtime.

    Raises:
        CompileError: ONNX Runtime refuses the graph.
    """
    if name == "cpu":
        return _C.Engine(package, backend="cpu").logits
    model = OnnxModel(graph_path(package, name))

    def logits(ids: list[int]) -> Float32:
        return model.logits(ids, decode=min(_DECODED, len(ids) - 1))

    return logits


def open_engine(package: Path, file: str) -> LogitsOf:
    """The package's TensorRT engine at `file`, as the C++ runtime runs it (its info names the file as `engine`).

    Raises:
        DeviceError: it cannot run on this machine, or the package's other engine is preferred here.
    """
    engine = _C.Engine(package, backend="tensorrt")
    if (running := engine.info().get("engine")) != file:
        raise DeviceError(f"expected {file} to run on this machine, but {running} is run here")
    return engine.logits


def stored_weights(package: Path, name: str) -> TensorByName:
    """The weights of a backend, read back from its file."""
    if name == "cpu":
        return read_cpu_weights(package / CPU_WEIGHTS, read_manifest(package).model)
    read = read_contrib_weights if name == "onnxruntime" else read_graph_weights
    return read(graph_path(package, name))


def graph_path(package: Path, name: str) -> Path:
    """The graph of a backend that has one: `onnx/model.onnx`, `tensorrt-rtx/model.onnx`, …"""
    return package / name / "model.onnx"
