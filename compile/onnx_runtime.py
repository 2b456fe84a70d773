"""Runs a castline ONNX graph in ONNX Runtime on the CPU, its key/value cache updated in place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

from castline.errors import CompileError

_NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_ERRORS_ONLY = 3


class OnnxModel:
    """A session over a graph that `castline.compile.graph` wrote.

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
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except (Fail, InvalidGraph, NotImplemented) as error:
            raise CompileError(
                f"expected ONNX Runtime {onnxruntime.__version__} to load {path}, but it said: {error}"
            ) from None
        self._caches = [value for value in self._session.get_inputs() if value.name.startswith("past_")]

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
        binding = self._session.io_binding()
        for name, cache in caches.items():
            binding.bind_ortvalue_input(name, cache)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), cache)
        binding.bind_output("logits")
        binding.bind_cpu_input("input_ids", tokens[None])
        binding.bind_cpu_input("position_ids", np.arange(start, start + len(tokens))[None])
        binding.bind_cpu_input("write_indices", np.array([start]))
        binding.bind_cpu_input("logits_indices", np.arange(len(tokens)))
        self._session.run_with_iobinding(binding)
        logits: NDArray[np.float32] = binding.get_outputs()[-1].numpy()[0]
        return logits
