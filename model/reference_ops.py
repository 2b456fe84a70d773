"""The model's operations in plain PyTorch: what the fused ones must compute, and the fallback for them.

`tokens` stands for any number of positions: a packed batch is one long list of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
"""The target of a position that has none (the last one of a document)."""

_CHUNK = 1024
"""Positions whose logits `linear_cross_entropy` holds at a time."""


def _wide(x: Tensor) -> Tensor:
    """In float32, or float64 where x is: the oracle of the kernels' tests."""
    return x if x.dtype == torch.float64 else x.float()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last dimension: x / sqrt(mean(x²) + eps) · weight.

    Normalises in float32, casts back, then multiplies by the weight (arXiv 1910.07467, the order of Llama
    and InternLM2).

    Args:
        x: [..., size]
        weight: [size]
        eps: added to the mean square

    Returns:
        [..., size], in x's type.
    """
    wide = _wide(x)
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return normed.to(x.dtype) * weight


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Add a block's output to the residual stream and normalise the sum for the next block.

    Args:
        x: [..., size], the block's output
        residual: [..., size], the stream so far
        weight: [size]
        eps: as in `rms_norm`

    Returns:
        (rms_norm(x + residual), x + residual).
    """
    total = x + residual
    return rms_norm(total, weight, eps), total


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding in Hugging Face's half rotation: element i turns with element i + size/2.

    (x1, x2) -> (x1·cos - x2·sin, x2·cos + x1·sin), computed in float32 (arXiv 2104.09864).

    Args:
        x: [tokens, ..., head_dim]: the heads of each token, in one or two dimensions, of any strides but
            dense in the last one (a slice of packed q, k, v)
        cos: [tokens, head_dim / 2], float32: the cosine of each pair's angle at the token's position
        sin: like cos

    Returns:
        A new tensor of x's shape and type. Its gradient is `rope(grad, cos, -sin)`.
    """
    shape = (x.shape[0], *[1] * (x.dim() - 2), x.shape[-1] // 2)
    cos, sin = cos.view(shape), sin.view(shape)
    x1, x2 = _wide(x).chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1).to(x.dtype)


def rope_qkv(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take packed q, k and v apart and turn q and k by `rope`.

    Args:
        qkv: [tokens, kv_heads, group + 2, head_dim]: the query heads of a key/value head, its key, its value
        cos: as in `rope`
        sin: as in `rope`

    Returns:
        q [tokens, kv_heads · group, head_dim], k and v [tokens, kv_heads, head_dim].
    """
    turned = rope(qkv[:, :, :-1], cos, sin)
    return turned[:, :, :-1].flatten(1, 2), turned[:, :, -1], qkv[:, :, -1]


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, element by element, in float32 and rounded once (arXiv 2002.05202)."""
    return (F.silu(_wide(gate)) * _wide(up)).to(gate.dtype)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T: [..., in] and [out, in] to [..., out]."""
    return F.linear(x, weight)


def feed_forward(x: Tensor, w1: Tensor, w3: Tensor, w2: Tensor) -> Tensor:
    """The SwiGLU block: w2(silu(w1 x) · w3 x).

    Args:
        x: [tokens, size]
        w1: [inner, size], the gate
        w3: [inner, size]
        w2: [size, inner]

    Returns:
        [tokens, size].
    """
    return linear(swiglu(linear(x, w1), linear(x, w3)), w2)


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The summed cross-entropy of the logits x @ weight.T against the targets, in nats.

    Args:
        x: [tokens, size]
        weight: [vocab, size]
        targets: [tokens], int64; positions with `IGNORED` count nothing

    Returns:
        A float32 scalar: the sum (divide by the number of counted targets for the mean).
    """
    losses = [
        F.cross_entropy(_wide(F.linear(part, weight)), target, ignore_index=IGNORED, reduction="sum")
        for part, target in zip(torch.split(x, _CHUNK), torch.split(targets, _CHUNK), strict=True)
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def token_losses(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Like `linear_cross_entropy`, but each position's own loss, without gradients: for evaluation.

    Returns:
        [tokens], float32; 0 where the target is `IGNORED`.
    """
    losses = [
        F.cross_entropy(_wide(F.linear(part, weight)), target, ignore_index=IGNORED, reduction="none")
        for part, target in zip(torch.split(x, _CHUNK), torch.split(targets, _CHUNK), strict=True)
    ]
    return torch.cat(losses)
