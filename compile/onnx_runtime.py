"""Runs castline's ONNX graphs, the standard and the contributed one, in ONNX Runtime on the CPU, caches in place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
    RuntimeException,
)

from castline.compile.onnx_bf16 import has_bfloat16, rounded_to_bfloat16
from castline.errors import CompileError

_NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_ERRORS_ONLY = 3
_REFUSALS = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented, RuntimeException)


class OnnxModel:
    """A session over a graph that `castline.compile.graph` or `graph_contrib` wrote.

    Args:
        path: the graph file
        threads: 0 for all cores

    Raises:
        CompileError: this ONNX Runtime refuses the graph.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        # Idle threads sleep: on a busy machine, spinning ones take the time of those that work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model: Path | bytes = path
        if has_bfloat16(graph := _graph(path)):
            model = rounded_to_bfloat16(graph).SerializeToString()
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _REFUSALS as error:
            raise CompileError(
                f"expected ONNX Runtime {onnxruntime.__version__} to load {path}, but it said: {error}"
            ) from None
        # Where the graph gives the last logits by default, choosing others is an input that may be left out.
        self._last_only = {value.name for value in self._session.get_overridable_initializers()}
        self._caches = [value for value in self._session.get_inputs() if value.name.startswith("past_")]
        caches = {cache.name for cache in self._caches}
        self._inputs = {value.name for value in self._session.get_inputs()} - caches | self._last_only

    def logits(self, ids: Sequence[int], *, decode: int = 0) -> NDArray[np.float32]:
        """Logits [len(ids), vocab] of one sequence; its last `decode` tokens go through one at a time."""
        tokens = np.asarray(ids, np.int64)
        caches = {}
        for cache in self._caches:
            _, kv_heads, _, head_dim = cache.shape
            zeros = np.zeros((1, kv_heads, len(tokens), head_dim), _NUMPY[cache.type])
            caches[cache.name] = onnxruntime.OrtValue.ortvalue_from_numpy(zeros)
        ends = range(len(tokens) - decode, len(tokens) + 1)
        starts = [0, *ends[:-1]]
        parts = [
            self._step(tokens[start:end], start, caches) for start, end in zip(starts, ends, strict=True) if end > start
        ]
        return np.concatenate(parts)

    def _step(self, tokens: NDArray[np.int64], start: int, caches: dict[str, Any]) -> NDArray[np.float32]:
        end = start + len(tokens)
        values = {
            "input_ids": tokens[None],
            "position_ids": np.arange(start, end)[None],
            "write_indices": np.array([start]),
            "attention_mask": np.ones((1, end), np.int64),
            "logits_indices": np.arange(len(tokens)),
        }
        inputs = {name: values[name] for name in self._inputs}
        if self._last_only and len(tokens) > 1:
            # An input with a default cannot be bound, so this step copies the caches.
            feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in inputs.items()}
            first, *updated = self._session.run_with_ort_values(["logits", *map(_present, caches)], feeds | caches)
            caches.update(zip(caches, updated, strict=True))
            return _first_sequence(first)
        binding = self._session.io_binding()
        for name, cache in caches.items():
            binding.bind_ortvalue_input(name, cache)
            binding.bind_ortvalue_output(_present(name), cache)
        binding.bind_output("logits")
        for name in inputs.keys() - self._last_only:
            binding.bind_cpu_input(name, inputs[name])
        self._session.run_with_iobinding(binding)
        return _first_sequence(binding.get_outputs()[-1])


def _present(past: str) -> str:
    return past.replace("past_key_values", "present")


def _first_sequence(logits: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = logits.numpy()[0]
    return values


def _graph(path: Path) -> onnx.ModelProto:
    """The graph file without its weights; an empty one where it is missing or damaged, which the session tells."""
    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
        return onnx.ModelProto()
