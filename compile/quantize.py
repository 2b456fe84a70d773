"""Weight quantisation: round to nearest on a symmetric grid with one step per output channel."""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def quantize_int8(matrix: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Quantise `matrix` [out, in] so that `value ≈ q · scale`.

    Returns:
        q [out, in] in -127…127, and scale [out] = max |row| / 127 (1 for a row of zeros, which stays zero).
    """
    scale = np.abs(matrix).max(axis=1) / np.float32(127)
    scale[scale == 0] = 1
    quantized = np.rint(matrix / scale[:, None])
    return np.clip(quantized, -127, 127).astype(np.int8), scale.astype(np.float32)


def dequantize_int8(quantized: NDArray[np.int8], scale: Float32) -> Float32:
    """The values `quantized` [out, in] stands for."""
    return quantized.astype(np.float32) * scale[:, None]
