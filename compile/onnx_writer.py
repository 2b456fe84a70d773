"""ONNX on disk, written as it is built: a small graph file, and weights streamed to a file beside it.

A weight is written the moment it is added, so one tensor is in memory at a time. Names given to nodes are
made unique by their path in the model, as exporters do (`/model/layers.0/self_attn/q_proj/MatMul`).
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import onnx
from ml_dtypes import bfloat16, float8_e4m3fn
from numpy.typing import NDArray
from onnx import TensorProto, helper

OPSET = 24
IR_VERSION = 11  # the first one that knows opset 24 and the newest that TensorRT's parser reads

# Weights start at page boundaries, so that a runtime can map them; small ones stay in the graph.
_ALIGNMENT = 4096
_INLINE_BYTES = 1024

_VERSIONS = {"": OPSET, "com.microsoft": 1}

_DTYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(bfloat16): TensorProto.BFLOAT16,
    np.dtype(float8_e4m3fn): TensorProto.FLOAT8E4M3FN,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
}


class OnnxWriter:
    """Collects the nodes of one graph, and streams its weights to `data`, called `data_name` beside it."""

    def __init__(self, data: BinaryIO, data_name: str) -> None:
        self._data = data
        self._data_name = data_name
        self._offset = 0
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: Any, shape: list[int | str]) -> str:
        """Declare a graph input; a string in `shape` names a dynamic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, _DTYPES[np.dtype(dtype)], shape))
        return name

    def output(self, name: str, dtype: Any, shape: list[int | str]) -> None:
        """Declare the value called `name` a graph output."""
        self._outputs.append(helper.make_tensor_value_info(name, _DTYPES[np.dtype(dtype)], shape))

    def node(
        self,
        op: str,
        inputs: list[str],
        path: str,
        *,
        output: str = "",
        others: Sequence[str] = (),
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node named `path/op`; returns the name of its first output. `others` names further ones."""
        name = f"{path}/{op}"
        output = output or f"{name}_output"
        self._nodes.append(helper.make_node(op, inputs, [output, *others], name=name, domain=domain, **attributes))
        return output

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """Add an initializer; anything but a small one goes to the data file. Returns its name."""
        array = np.ascontiguousarray(array)
        return self._store(name, _DTYPES[array.dtype], array.shape, array)

    def nibbles(self, name: str, array: NDArray[np.uint8] | NDArray[np.int8]) -> str:
        """Add an initializer of 4-bit numbers: UINT4 from uint8, INT4 from int8. Returns its name."""
        data_type = TensorProto.INT4 if array.dtype == np.int8 else TensorProto.UINT4
        flat = np.pad(array.reshape(-1).view(np.uint8) & 15, (0, array.size % 2))
        return self._store(name, data_type, array.shape, flat[::2] | flat[1::2] << 4)

    def _store(self, name: str, data_type: int, shape: tuple[int, ...], array: NDArray[Any]) -> str:
        tensor = TensorProto(name=name, data_type=data_type, dims=shape)
        self._initializers.append(tensor)
        if array.nbytes <= _INLINE_BYTES:
            tensor.raw_data = array.tobytes()
            return name
        padding = -self._offset % _ALIGNMENT
        self._data.write(b"\0" * padding)
        self._offset += padding
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self._data_name),
            ("offset", str(self._offset)),
            ("length", str(array.nbytes)),
        ):
            tensor.external_data.add(key=key, value=value)
        self._data.write(array.view(np.uint8).data)  # bfloat16 and fp8 have no buffers of their own
        self._offset += array.nbytes
        return name

    def save(self, graph_name: str, producer_version: str, metadata: dict[str, str]) -> bytes:
        """The finished graph file; the same bytes every time."""
        domains = sorted({node.domain for node in self._nodes})
        graph = helper.make_graph(self._nodes, graph_name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, _VERSIONS[domain]) for domain in domains],
            ir_version=IR_VERSION,
            producer_name="castline",
            producer_version=producer_version,
        )
        helper.set_model_props(model, metadata)
        serialized: bytes = model.SerializeToString(deterministic=True)
        return serialized
