"""Weight quantisation: int8 and fp8 with a scale per output channel, int4 on a grid per block of a channel.

Which grid point a weight goes to is decided here by rounding to nearest, or by gptq.py from data.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_dtypes import bfloat16, float8_e4m3fn
from numpy.typing import NDArray

from castline.compile.formats import TensorFormat, WeightFormat

Float32 = NDArray[np.float32]

FP8 = np.dtype(float8_e4m3fn)
_FP8_MOST = np.float32(448)

INT4_SYMMETRIC_ZERO = 8
_INT4_MOST = 15

FLOAT_DTYPES: dict[WeightFormat, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(bfloat16),
}


def rounded_values(matrix: Float32, stored: TensorFormat, *, symmetric: bool = False) -> Float32:
    """What `matrix` [out, in] becomes when it is rounded to a format; `symmetric` is for int4 grids."""
    if stored.kind == "int4":
        return round_int4(matrix, stored.block, symmetric=symmetric).values()
    if stored.kind == "int8":
        return dequantize_rows(*quantize_int8(matrix))
    if stored.kind == "fp8":
        return dequantize_rows(*quantize_fp8(matrix))
    values: Float32 = matrix.astype(FLOAT_DTYPES[stored.kind]).astype(np.float32)
    return values


def quantize_int8(matrix: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Quantise `matrix` [out, in] so that `value ≈ q · scale`.

    Returns:
        q [out, in] in -127…127, and scale [out] = max |row| / 127 (1 for a row of zeros, which stays zero).
    """
    scale = np.abs(matrix).max(axis=1) / np.float32(127)
    scale[scale == 0] = 1
    quantized = np.rint(matrix / scale[:, None])
    return np.clip(quantized, -127, 127).astype(np.int8), scale.astype(np.float32)


def quantize_fp8(matrix: Float32) -> tuple[NDArray[Any], Float32]:
    """Round `matrix` [out, in] to fp8 (E4M3), `value ≈ q · scale`.

    Returns:
        q [out, in] in -448…448, and scale [out] (`fp8_scale` of the largest).
    """
    scale = fp8_scale(np.abs(matrix).max(axis=1))
    # Above its largest number E4M3 has only NaN, and a quotient may be rounded to just above it.
    quantized = np.clip(matrix / scale[:, None], -_FP8_MOST, _FP8_MOST)
    return quantized.astype(FP8), scale.astype(np.float32)


def fp8_scale(largest: Float32 | np.float32) -> Float32:
    """The scale that brings magnitudes up to `largest` into E4M3's range.

    It is at least float16's smallest normal number, in which scales are stored for TensorRT: E4M3 keeps its
    precision over 2^15, so small numbers lose nothing by a scale larger than they need.
    """
    return np.maximum(largest / _FP8_MOST, np.float32(2**-14)).astype(np.float32)


def dequantize_rows(quantized: NDArray[Any], scale: Float32) -> Float32:
    """The values that `quantized` [out, in] stands for, int8 or fp8 with a scale per row."""
    values: Float32 = quantized.astype(np.float32) * scale[:, None]
    return values


@dataclass(frozen=True)
class Int4Grid:
    """The grids of a matrix [out, in]: value = (q - zero) · scale with q in 0…15, for each block of a row."""

    scale: Float32
    """[out, ⌈in / block⌉], each a float16 number."""
    zero: NDArray[np.uint8]
    """[out, ⌈in / block⌉] in 0…15; 8 everywhere on symmetric grids."""
    block: int
    """Elements of a row that share a grid; the last block of a row may be shorter."""

    def round(self, matrix: Float32) -> NDArray[np.uint8]:
        """The nearest grid points of `matrix` [out, in]."""
        q = np.rint(matrix / self._wide(self.scale, matrix.shape[1])) + self._wide(self.zero, matrix.shape[1])
        points: NDArray[np.uint8] = np.clip(q, 0, _INT4_MOST).astype(np.uint8)
        return points

    def values(self, q: NDArray[np.uint8]) -> Float32:
        """What grid points [out, in] stand for."""
        size = q.shape[1]
        values: Float32 = (q.astype(np.float32) - self._wide(self.zero, size)) * self._wide(self.scale, size)
        return values

    def _wide(self, grids: NDArray[Any], size: int) -> NDArray[Any]:
        """What holds for every element of rows of `size`."""
        return grids.repeat(self.block, axis=1)[:, :size]


@dataclass(frozen=True)
class Int4Matrix:
    """A quantised matrix: its grids and its points on them."""

    q: NDArray[np.uint8]
    """[out, in] in 0…15."""
    grid: Int4Grid

    def values(self) -> Float32:
        """The matrix [out, in] that it stands for."""
        return self.grid.values(self.q)


def round_int4(matrix: Float32, block: int, *, symmetric: bool = False) -> Int4Matrix:
    """Round `matrix` [out, in] to the nearest points of the grids that span each block's range."""
    grid = int4_grid(matrix, block, symmetric=symmetric)
    return Int4Matrix(grid.round(matrix), grid)


def int4_grid(matrix: Float32, block: int, *, symmetric: bool = False) -> Int4Grid:
    """The grids that span the range of every block of `matrix` [out, in], zero always on the grid.

    Args:
        matrix: the values
        block: elements of a row that share a grid; the last block of a row may be shorter
        symmetric: zero is 8 everywhere, as TensorRT wants it; otherwise a whole number per block
    """
    rows, size = matrix.shape
    # Zeros, which are on every grid, fill the last block.
    blocks = np.pad(matrix, ((0, 0), (0, -size % block))).reshape(rows, -1, block)
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    scale = np.maximum(high / 7, -low / 8) if symmetric else (high - low) / _INT4_MOST
    # A float16 of zero would lose the block; the smallest normal one is far below any weight that matters.
    scale = np.maximum(scale.astype(np.float16), np.finfo(np.float16).smallest_normal).astype(np.float32)
    zero = np.full(scale.shape, INT4_SYMMETRIC_ZERO) if symmetric else np.clip(np.rint(-low / scale), 0, _INT4_MOST)
    return Int4Grid(scale, zero.astype(np.uint8), block)
