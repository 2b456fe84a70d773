"""The CPU runtime's weights: a safetensors file under Llama names that it maps and computes from as it is.

    f32, f16, bf16  F32, F16, BF16 [out, in]
    int8            I8 [out, in], value = q · scale, with `<name>.scale` F32 [out]
    int4            U8, with `<name>.scale` F16 and `<name>.zero` U8 (int4_layout.py)

Every matrix has a format of its own, and its type says which; norms are F32. How many elements share an int4
grid follows from the grids' shape.

Every tensor's data starts at a multiple of 64 bytes in the file: the header is padded with spaces, and
where a tensor's size is no such multiple, an I8 tensor `padding.N` follows it (the format allows no gaps).
Tied embeddings are stored once. The reader is csrc/runtime/safetensors.hpp.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from castline.compile.assignment import Assignment
from castline.compile.formats import INT4_BLOCKS, WeightFormat
from castline.compile.int4_layout import ROW_BLOCK, Int4Layout, pack_int4, stored_shapes, unpack_int4
from castline.compile.quantize import FLOAT_DTYPES, dequantize_rows, quantize_int8
from castline.compile.weights import Weights
from castline.files import atomic_write
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes

ALIGNMENT = 64

_PADDING = "padding."

_FLOATS: dict[WeightFormat, str] = {"f32": "F32", "f16": "F16", "bf16": "BF16"}

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": FLOAT_DTYPES["bf16"],
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


class _Entry(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def is_padding(self) -> bool:
        return self.name.startswith(_PADDING)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize


def write_cpu_weights(reader: CheckpointReader, path: Path, assignment: Assignment, weights: Weights) -> None:
    """Write the weights of a checkpoint, one tensor in memory at a time.

    Args:
        reader: the checkpoint
        path: the safetensors file
        assignment: the format of every tensor
        weights: gives the tensors
    """
    entries = _entries(reader.config, assignment)
    arrays = _arrays(reader, assignment, weights)
    with atomic_write(path) as file:
        file.write(_header(entries, assignment))
        for entry in entries:
            file.write(bytes(entry.nbytes) if entry.is_padding else _bytes(next(arrays)))


def read_cpu_weights(path: Path, config: ModelConfig) -> Callable[[str], NDArray[np.float32]]:
    """A function that gives the stored tensors of a model by name, dequantised."""
    shapes = layout_shapes(config, "llama")

    def tensor(name: str) -> NDArray[np.float32]:
        with safe_open(path, framework="np") as file:
            stored = file.get_tensor(name)
            if stored.dtype == np.int8:
                return dequantize_rows(stored, file.get_tensor(f"{name}.scale"))
            if stored.dtype == np.uint8:
                layout = Int4Layout(stored, file.get_tensor(f"{name}.scale"), file.get_tensor(f"{name}.zero"))
                return unpack_int4(layout, shapes[name][0], _block(layout)).values()
            array: NDArray[np.float32] = stored.astype(np.float32)
            return array

    return tensor


def cpu_weights_size(config: ModelConfig, assignment: Assignment) -> int:
    """The bytes of the file `write_cpu_weights` makes."""
    entries = _entries(config, assignment)
    return len(_header(entries, assignment)) + sum(entry.nbytes for entry in entries)


def _block(layout: Int4Layout) -> int:
    """The block whose grids have the shape of these; where several have, they are the same."""
    size = layout.q.shape[1] * ROW_BLOCK
    return next(block for block in INT4_BLOCKS if -(-size // block) == layout.scale.shape[1])


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data


def _arrays(reader: CheckpointReader, assignment: Assignment, weights: Weights) -> Iterator[NDArray[Any]]:
    """The data of every entry but the padding, in order."""
    for name in layout_shapes(reader.config, "llama"):
        kind = assignment[name].kind
        if kind == "int4":
            layout = pack_int4(weights.matrix(name, assignment, symmetric=False))
            yield from (layout.q, layout.scale, layout.zero)
        elif kind == "int8":
            yield from quantize_int8(weights.tensor(name, assignment, symmetric=False))
        else:
            yield weights.tensor(name, assignment, symmetric=False).astype(FLOAT_DTYPES[kind])


def _entries(config: ModelConfig, assignment: Assignment) -> list[_Entry]:
    entries: list[_Entry] = []

    def add(name: str, dtype: str, *shape: int) -> None:
        entries.append(_Entry(name, dtype, shape))
        if gap := -entries[-1].nbytes % ALIGNMENT:
            entries.append(_Entry(f"{_PADDING}{len(entries)}", "I8", (gap,)))

    for name, shape in layout_shapes(config, "llama").items():
        stored = assignment[name]
        if stored.kind == "int4":
            shapes = stored_shapes(shape[0], shape[1], stored.block)
            add(name, "U8", *shapes.q)
            add(f"{name}.scale", "F16", *shapes.grids)
            add(f"{name}.zero", "U8", *shapes.grids)
        elif stored.kind == "int8":
            add(name, "I8", *shape)
            add(f"{name}.scale", "F32", shape[0])
        else:
            add(name, _FLOATS[stored.kind], *shape)
    return entries


def _header(entries: list[_Entry], assignment: Assignment) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"castline.weights": assignment.main}}
    offset = 0
    for entry in entries:
        end = offset + entry.nbytes
        header[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": (offset, end)}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
