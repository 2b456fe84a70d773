"""GGUF files (llama.cpp's format, version 2 and 3, little-endian): metadata and tensors, every read bounds-checked.

The format: a header with counts, key/value metadata, tensor descriptions, padding to the alignment, then the data
(github.com/ggml-org/ggml, docs/gguf.md). Quantised blocks are turned into float32 by the `gguf` package.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from torch import Tensor

from castline.errors import CheckpointError

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4

T = TypeVar("T")


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: its shape in PyTorch's order, its type, and its bytes in the file."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    start: int
    size: int


class GgufFile:
    """A GGUF file, memory-mapped: `metadata` by key, `tensors` by name."""

    def __init__(self, path: Path) -> None:
        """Read the header; the tensors' data is left where it is.

        Raises:
            CheckpointError: the file is not GGUF, cut off or damaged.
        """
        self.path = path
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, TensorInfo] = {}
        try:
            with path.open("rb") as file:
                self._data: mmap.mmap | bytes = (
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
                )
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
        self._at = 0
        self._read_header()

    def tensor(self, name: str) -> Tensor:
        """One tensor as float32, dequantised.

        Raises:
            CheckpointError: there is none of this name, or its type is not supported.
        """
        if name not in self.tensors:
            raise CheckpointError(f"{self.path}: expected the tensor {name}, but it is missing")
        info = self.tensors[name]
        raw = np.frombuffer(self._data, np.uint8, info.size, info.start)
        rows = raw.reshape(prod(info.shape[:-1]), -1) if info.size else raw
        try:
            # A damaged scale gives infinities; whoever writes the checkpoint refuses them by name.
            with np.errstate(all="ignore"):
                values = np.array(dequantize(rows, info.kind), np.float32)
        except NotImplementedError:
            raise CheckpointError(
                f"{self.path}: expected the tensor {name} in a type that can be dequantised, but found "
                f"{info.kind.name}; convert the file to Q8_0 or F16"
            ) from None
        return torch.from_numpy(values).reshape(info.shape)

    def value(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The metadata under `key`, which must be a `kind` (an int passes for a float).

        Raises:
            CheckpointError: it is missing without a default, or of another type.
        """
        found = self.metadata.get(key, default)
        if found is None:
            raise CheckpointError(f"{self.path}: expected the metadata key {key}, but it is missing")
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            found = float(found)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise CheckpointError(
                f"{self.path}: expected the metadata {key} to be {kind.__name__}, but found {type(found).__name__}"
            )
        return found

    def _read_header(self) -> None:
        if self._take(4, "the magic number") != b"GGUF":
            raise CheckpointError(f"{self.path}: expected a GGUF file, but its first bytes are others")
        version = self._number("<I", "the version")
        if version not in (2, 3):
            raise CheckpointError(
                f"{self.path}: expected GGUF version 2 or 3, little-endian, but found version {version}"
            )
        tensors, pairs = self._number("<Q", "the tensor count"), self._number("<Q", "the metadata count")
        for _ in range(pairs):
            key = self._string("a metadata key")
            self.metadata[key] = self._value(self._number("<I", f"the type of {key}"), key)
        described = [self._describe() for _ in range(tensors)]
        alignment = self.value("general.alignment", int, 32)
        if alignment < 1:
            raise CheckpointError(f"{self.path}: expected general.alignment to be positive, but found {alignment}")
        base = (self._at + alignment - 1) // alignment * alignment
        for name, shape, kind, offset in described:
            block, block_bytes = GGML_QUANT_SIZES[kind]
            if shape[-1] % block:
                raise CheckpointError(
                    f"{self.path}: expected rows of whole blocks of {block} in the tensor {name} ({kind.name}), but "
                    f"found {shape[-1]} columns"
                )
            size = prod(shape) // block * block_bytes
            if base + offset + size > len(self._data):
                raise CheckpointError(
                    f"{self.path}: expected {size} bytes of the tensor {name} at {base + offset}, but the file ends at "
                    f"{len(self._data)}; it is cut off or damaged"
                )
            if name in self.tensors:
                raise CheckpointError(f"{self.path}: expected each tensor once, but found {name} twice")
            self.tensors[name] = TensorInfo(shape, kind, base + offset, size)

    def _describe(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self._string("a tensor's name")
        dimensions = self._number("<I", f"the dimensions of {name}")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise CheckpointError(
                f"{self.path}: expected the tensor {name} to have 1 to {_MAX_DIMENSIONS} dimensions, but found "
                f"{dimensions}"
            )
        shape = tuple(self._number("<Q", f"the shape of {name}") for _ in range(dimensions))[::-1]
        kind, offset = self._number("<I", f"the type of {name}"), self._number("<Q", f"the offset of {name}")
        if kind not in set(GGMLQuantizationType):
            raise CheckpointError(f"{self.path}: expected a known type of the tensor {name}, but found {kind}")
        return name, shape, GGMLQuantizationType(kind), offset

    def _value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self._string(key)
        if kind == _ARRAY:
            element, count = self._number("<I", f"the type of {key}"), self._number("<Q", f"the length of {key}")
            if element == _STRING:
                return [self._string(key) for _ in range(count)]
            layout = self._scalar(element, key)
            size = struct.calcsize(layout)
            return list(struct.unpack(f"<{count}{layout[1]}", self._take(count * size, key)))
        return self._number(self._scalar(kind, key), key)

    def _scalar(self, kind: int, key: str) -> str:
        if kind not in _SCALARS:
            raise CheckpointError(f"{self.path}: expected a known type of the metadata {key}, but found {kind}")
        return _SCALARS[kind]

    def _number(self, layout: str, what: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout), what))[0]

    def _string(self, what: str) -> str:
        data = self._take(self._number("<Q", what), what)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path}: expected UTF-8 in {what}, but found {error.reason}") from None

    def _take(self, size: int, what: str) -> bytes:
        if size > len(self._data) - self._at:
            raise CheckpointError(
                f"{self.path}: expected {size} bytes of {what} at {self._at}, but the file ends at {len(self._data)}; "
                "it is cut off or damaged"
            )
        self._at += size
        return self._data[self._at - size : self._at]
