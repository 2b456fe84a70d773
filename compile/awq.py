"""AWQ: input channels scaled before rounding, so that those that carry most lose least (arXiv 2306.00978).

A matrix W becomes W·diag(s), and what makes its inputs is divided by s, which no backend has to know of: a norm's
weights (for q, k, v and for gate, up), the rows of v (for o) or of up (for down). How far the scales follow the
inputs' mean magnitudes, s = |x|^α, is the α under which rounding costs the outputs least.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from castline.compile.quantize import round_int4
from castline.model import ops

_ALPHAS = np.arange(1, 11) / 10


def channel_scales(
    matrices: Sequence[tuple[Tensor, int]],
    hessian: Tensor,
    magnitudes: Tensor,
    *,
    symmetric: bool,
    powers_of_two: bool = False,
) -> Tensor:
    """The scales of the inputs that some int4 matrices share: [in], ones where nothing is better.

    Args:
        matrices: each [out, in] with its block
        hessian: H [in, in] = Σ x xᵀ over the inputs, float32
        magnitudes: mean |x| [in]; inputs of equal magnitude get equal scales
        symmetric: see `round_int4`
        powers_of_two: scales by which float16 grids that are there already can be divided without rounding
    """

    def error(scales: Tensor) -> float:
        found = 0.0
        for matrix, block in matrices:
            rounded = round_int4((matrix * scales).numpy(), block, symmetric=symmetric).values()
            difference = torch.from_numpy(rounded) / scales - matrix
            found += float((ops.linear(difference, hessian).double() * difference).sum())
        return found

    best = torch.ones_like(magnitudes)
    least = error(best)
    for alpha in _ALPHAS.tolist():
        scales = magnitudes.clamp_min(float(magnitudes.max()) * 1e-4) ** alpha
        scales = scales / (scales.max() * scales.min()).sqrt()
        if powers_of_two:
            scales = scales.log2().round().exp2()
        if (cost := error(scales)) < least:
            best, least = scales, cost
    return best
