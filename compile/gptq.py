"""GPTQ: int4 points chosen so that a layer's outputs, not its weights, stay close (arXiv 2210.17323).

Columns are rounded one after the other, the most important first; the error that each leaves in the outputs
is made up for by the columns that are still free. What matters is H = Σ x xᵀ over the layer's inputs x. The columns
are rounded by csrc/kernels/quantize; here is what comes before: the inverse of H.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from castline import _C
from castline.compile.quantize import Int4Grid, Int4Matrix

DAMPING = 0.01  # added to H's diagonal, as a share of its mean


def gptq(matrix: Tensor, hessian: Tensor, block: int, *, symmetric: bool = False) -> Int4Matrix:
    """Quantise a layer's weights for the inputs it gets.

    Args:
        matrix: [out, in], float32
        hessian: H [in, in], float32 or wider
        block: elements of a row that share a grid
        symmetric: grids with their zero in the middle
    """
    h = damped(hessian, DAMPING)
    order = torch.argsort(h.diagonal(), descending=True, stable=True)
    factor = inverse_factor(h[order][:, order]).float()
    q, scale, zero = _C.gptq(matrix.numpy(), factor.numpy(), order.numpy(), block, symmetric)
    return Int4Matrix(q, Int4Grid(scale, zero, block))


def damped(hessian: Tensor, share: float) -> Tensor:
    """H in float64 with `share` of its diagonal's mean added to the diagonal, so that it can be inverted.

    An input that is always zero gets a one: its weights may be anything, rounding will do.
    """
    h = hessian.double()
    h = h.clone() if h is hessian else h
    diagonal = h.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += share * diagonal.mean()
    return h


def inverse_factor(h: Tensor) -> Tensor:
    """The upper triangular U with Uᵀ U = H⁻¹.

    The rows of H and its columns in reverse make its Cholesky factor an upper one, H = R Rᵀ, and U = R⁻¹. Row i of U
    is the inverse of the problem that columns i, i + 1, … leave, divided by its diagonal's root.
    """
    with one_thread():
        lower = torch.linalg.cholesky(h.flip(0, 1))
        inverse: Tensor = torch.linalg.solve_triangular(lower, torch.eye(len(h), dtype=h.dtype), upper=False)
    return inverse.flip(0, 1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra that gives the same bits whatever number of threads PyTorch otherwise has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
