"""GPTQ: int4 points chosen so that a layer's outputs, not its weights, stay close (arXiv 2210.17323).

Columns are rounded one after the other, the most important first; the error that each leaves in the outputs
is made up for by the columns that are still free. What matters is H = Σ x xᵀ over the layer's inputs x.
"""

import numpy as np
import torch
from torch import Tensor

from castline.compile.quantize import Int4Grid, Int4Matrix, int4_grid

DAMPING = 0.01  # added to H's diagonal, as a share of its mean
_COLUMNS = 128  # whose later effects are gathered into one product


def gptq(matrix: Tensor, hessian: Tensor, block: int, *, symmetric: bool = False) -> Int4Matrix:
    """Quantise a layer's weights for the inputs it gets.

    Args:
        matrix: [out, in], float32
        hessian: H [in, in], float32 or wider
        block: elements of a row that share a grid
        symmetric: see `int4_grid`
    """
    h = hessian.double()
    diagonal = h.diagonal()
    unused = diagonal == 0
    diagonal[unused] = 1  # an input that is always zero: its weights may be anything, rounding will do
    diagonal += DAMPING * diagonal.mean()
    grid = int4_grid(matrix.numpy(), block, symmetric=symmetric, importance=diagonal.float().numpy())

    order = torch.argsort(diagonal, descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h[order][:, order]))
    # Row i of this factor is the remaining problem's inverse, divided by its diagonal's root.
    factor = torch.linalg.cholesky(inverse, upper=True).float()
    q = _round_columns(matrix[:, order].clone(), factor, grid, order)
    restored = torch.empty_like(q)
    restored[:, order] = q
    return Int4Matrix(restored.numpy(), grid)


def _round_columns(weights: Tensor, factor: Tensor, grid: Int4Grid, order: Tensor) -> Tensor:
    """Round the columns of `weights` [out, in], which are overwritten, in turn; the points, uint8."""
    columns = weights.shape[1]
    blocks = (order // grid.block).tolist()
    scales = torch.from_numpy(np.ascontiguousarray(grid.scale.T))
    zeros = torch.from_numpy(np.ascontiguousarray(grid.zero.T)).float()
    points = torch.empty(weights.shape[::-1], dtype=torch.uint8)
    for start in range(0, columns, _COLUMNS):
        end = min(start + _COLUMNS, columns)
        part = weights[:, start:end].T.contiguous()  # [columns, out]
        errors = torch.empty_like(part)
        corner = factor[start:end, start:end]
        for i in range(end - start):
            scale, zero = scales[blocks[start + i]], zeros[blocks[start + i]]
            q = (part[i] / scale).round_().add_(zero).clamp_(0, 15)
            points[start + i] = q.to(torch.uint8)
            errors[i] = (part[i] - (q - zero) * scale) / corner[i, i]
            part[i:] -= torch.outer(corner[i, i:], errors[i])
        weights[:, end:] -= errors.T @ factor[start:end, end:]
    return points.T.contiguous()
