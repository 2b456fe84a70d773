"""How the CPU runtime's file holds an int4 matrix: sixteen channels side by side, as the kernels read them.

The layout is that of `Int4Matrix` in csrc/kernels/decoder_kernels.hpp.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from castline.compile.quantize import Int4Grid, Int4Matrix

GROUP = 16  # channels
ROW_BLOCK = 32  # elements of a row; its size is a multiple
_BLOCK_BYTES = GROUP * ROW_BLOCK // 2


@dataclass(frozen=True)
class Int4Layout:
    """A matrix [out, in] as stored; channels past the last one have scale 0."""

    q: NDArray[np.uint8]
    """[groups, in / 32, 256]."""
    scale: NDArray[np.float16]
    """[groups, ⌈in / block⌉, 16]."""
    zero: NDArray[np.uint8]
    """[groups, ⌈in / block⌉, 16]."""


class StoredShapes(NamedTuple):
    """The shapes of an `Int4Layout`; scale and zero have that of `grids`."""

    q: tuple[int, int, int]
    grids: tuple[int, int, int]


def stored_shapes(channels: int, size: int, block: int) -> StoredShapes:
    """How a matrix [channels, size] is stored with blocks of `block` elements."""
    groups = -(-channels // GROUP)
    return StoredShapes((groups, size // ROW_BLOCK, _BLOCK_BYTES), (groups, -(-size // block), GROUP))


def pack_int4(matrix: Int4Matrix) -> Int4Layout:
    """Lay a matrix out for the runtime; its rows have a multiple of 32 elements."""
    rows, size = matrix.q.shape
    q = _grouped(matrix.q).reshape(-1, GROUP, size // ROW_BLOCK, 4, 2, 4)
    low, high = (q[:, :, :, :, half].transpose(0, 2, 3, 1, 4) for half in (0, 1))
    return Int4Layout(
        q=(low | high << 4).reshape(stored_shapes(rows, size, matrix.grid.block).q),
        scale=_grouped(matrix.grid.scale.astype(np.float16)).transpose(0, 2, 1),
        zero=_grouped(matrix.grid.zero).transpose(0, 2, 1),
    )


def unpack_int4(layout: Int4Layout, channels: int, block: int) -> Int4Matrix:
    """The matrix that `pack_int4` laid out."""
    groups, blocks, _ = layout.q.shape
    halves = np.stack((layout.q & 15, layout.q >> 4)).reshape(2, groups, blocks, 4, GROUP, 4)
    q = halves.transpose(1, 4, 2, 3, 0, 5).reshape(groups * GROUP, blocks * ROW_BLOCK)
    grid = Int4Grid(_ungrouped(layout.scale, channels).astype(np.float32), _ungrouped(layout.zero, channels), block)
    return Int4Matrix(q[:channels], grid)


def _grouped(array: NDArray[Any]) -> NDArray[Any]:
    """[rows, n] -> [groups, 16, n], with rows of zeros added."""
    return np.pad(array, ((0, -len(array) % GROUP), (0, 0))).reshape(-1, GROUP, array.shape[1])


def _ungrouped(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """[groups, n, 16] -> [rows, n]."""
    return array.transpose(0, 2, 1).reshape(-1, array.shape[1])[:rows]
