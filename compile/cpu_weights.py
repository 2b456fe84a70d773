"""The CPU runtime's weights: a safetensors file under Llama names that it maps and computes from as it is.

    f32     every tensor F32
    int8    matrices I8 [out, in], value = q · scale, with `<name>.scale` F32 [out]; norms F32
    int4    matrices of the layers U8, with `<name>.scale` F16 and `<name>.zero` U8 (int4_layout.py);
            embeddings and head as in int8, norms F32

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

from castline.compile.formats import WeightFormat, matrix_format
from castline.compile.int4_layout import Int4Layout, pack_int4, stored_shapes, unpack_int4
from castline.compile.int4_weights import Int4Weights
from castline.compile.quantize import dequantize_int8, quantize_int8
from castline.files import atomic_write
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes

ALIGNMENT = 64

_PADDING = "padding."

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
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


def write_cpu_weights(
    reader: CheckpointReader, path: Path, weights: WeightFormat, int4: Int4Weights | None = None
) -> None:
    """Write the weights of a checkpoint, one tensor in memory at a time.

    Args:
        reader: the checkpoint
        path: the safetensors file
        weights: "f32", "int8" or "int4"
        int4: gives the matrices of the layers for int4
    """
    block = int4.block if int4 else 0
    entries = _entries(reader.config, weights, block)
    arrays = _arrays(reader, weights, int4)
    with atomic_write(path) as file:
        file.write(_header(entries, weights, block))
        for entry in entries:
            file.write(bytes(entry.nbytes) if entry.is_padding else np.ascontiguousarray(next(arrays)).data)


def read_cpu_weights(path: Path, config: ModelConfig) -> Callable[[str], NDArray[np.float32]]:
    """A function that gives the stored tensors of a model by name, dequantised."""
    shapes = layout_shapes(config, "llama")

    def tensor(name: str) -> NDArray[np.float32]:
        with safe_open(path, framework="np") as file:
            stored = file.get_tensor(name)
            if stored.dtype == np.int8:
                return dequantize_int8(stored, file.get_tensor(f"{name}.scale"))
            if stored.dtype == np.uint8:
                layout = Int4Layout(stored, file.get_tensor(f"{name}.scale"), file.get_tensor(f"{name}.zero"))
                return unpack_int4(layout, shapes[name][0], int(file.metadata()["castline.block"])).values()
            array: NDArray[np.float32] = stored
            return array

    return tensor


def cpu_weights_size(config: ModelConfig, weights: WeightFormat, block: int) -> int:
    """The bytes of the file `write_cpu_weights` makes."""
    entries = _entries(config, weights, block)
    return len(_header(entries, weights, block)) + sum(entry.nbytes for entry in entries)


def _arrays(reader: CheckpointReader, weights: WeightFormat, int4: Int4Weights | None) -> Iterator[NDArray[Any]]:
    """The data of every entry but the padding, in order."""
    for name, shape in layout_shapes(reader.config, "llama").items():
        stored = matrix_format(name, shape, weights)
        if stored == "int4" and int4 is not None:
            layout = pack_int4(int4.matrix(name, symmetric=False))
            yield from (layout.q, layout.scale, layout.zero)
        elif stored == "int8":
            yield from quantize_int8(reader.tensor(name).float().numpy())
        else:
            yield reader.tensor(name).float().numpy()


def _entries(config: ModelConfig, weights: WeightFormat, block: int) -> list[_Entry]:
    entries: list[_Entry] = []

    def add(name: str, dtype: str, *shape: int) -> None:
        entries.append(_Entry(name, dtype, shape))
        if gap := -entries[-1].nbytes % ALIGNMENT:
            entries.append(_Entry(f"{_PADDING}{len(entries)}", "I8", (gap,)))

    for name, shape in layout_shapes(config, "llama").items():
        stored = matrix_format(name, shape, weights)
        if stored == "int4":
            shapes = stored_shapes(shape[0], shape[1], block)
            add(name, "U8", *shapes.q)
            add(f"{name}.scale", "F16", *shapes.grids)
            add(f"{name}.zero", "U8", *shapes.grids)
        elif stored == "int8":
            add(name, "I8", *shape)
            add(f"{name}.scale", "F32", shape[0])
        else:
            add(name, "F32", *shape)
    return entries


def _header(entries: list[_Entry], weights: WeightFormat, block: int) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"castline.weights": weights}}
    if weights == "int4":
        header["__metadata__"]["castline.block"] = str(block)
    offset = 0
    for entry in entries:
        end = offset + entry.nbytes
        header[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": (offset, end)}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
