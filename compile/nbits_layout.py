"""Quantised matrices as ONNX Runtime's MatMulNBits stores them: [out, blocks, bytes of a block], uint8.

A row is cut into blocks of `block` elements, the last one filled up; of 4-bit numbers the first of a pair has a
byte's low bits. Zeros of 4 bits are packed alike: [out, ⌈blocks / 2⌉].
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_BLOCKS = (128, 64, 32, 16)


def fitting_block(size: int) -> int:
    """The largest block that rows of `size` are cut into whole; 128 where there is none."""
    return next((block for block in _BLOCKS if size % block == 0), _BLOCKS[0])


def pack_nbits(q: Bytes, bits: int, block: int) -> Bytes:
    """Pack numbers [out, in] of 4 or 8 bits."""
    filled = np.pad(q, ((0, 0), (0, -q.shape[1] % block)))
    packed = pack_pairs(filled) if bits == 4 else filled
    return packed.reshape(len(q), -1, block * bits // 8)


def unpack_nbits(packed: Bytes, bits: int, size: int) -> Bytes:
    """The numbers [out, size] that `pack_nbits` packed."""
    flat = packed.reshape(len(packed), -1)
    return (unpack_pairs(flat) if bits == 4 else flat)[:, :size]


def pack_pairs(numbers: Bytes) -> Bytes:
    """Two numbers of 4 bits in a byte: [n, m] to [n, ⌈m / 2⌉]."""
    filled = np.pad(numbers, ((0, 0), (0, numbers.shape[1] % 2)))
    return (filled[:, ::2] | filled[:, 1::2] << 4).astype(np.uint8)


def unpack_pairs(packed: Bytes) -> Bytes:
    """[n, m] to [n, 2 m]."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
