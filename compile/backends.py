"""The backends of a package as functions from token ids to logits, and their weights as they were stored."""

from pathlib import Path

from castline import _C
from castline.compile.blame import TensorByName
from castline.compile.cpu_weights import read_cpu_weights
from castline.compile.fidelity import Float32, LogitsOf
from castline.compile.graph import read_graph_weights
from castline.compile.onnx_runtime import OnnxModel

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


def open_engine(package: Path) -> LogitsOf:
    """The package's TensorRT engine.

    Raises:
        DeviceError: it cannot run on this machine.
    """
    return _C.Engine(package, backend="tensorrt").logits


def stored_weights(package: Path, name: str) -> TensorByName:
    """The weights of a backend, read back from its file."""
    if name == "cpu":
        return read_cpu_weights(package / CPU_WEIGHTS)
    return read_graph_weights(graph_path(package, name))


CPU_WEIGHTS = "cpu/weights.safetensors"


def graph_path(package: Path, name: str) -> Path:
    """The graph of a backend that has one: `onnx/model.onnx`, `tensorrt-rtx/model.onnx`, …"""
    return package / name / "model.onnx"
