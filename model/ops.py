"""The decoder's ops: fused kernels (csrc/ops) where there are some, the PyTorch twins elsewhere.

Every function does what its twin in `reference_ops` does, where its arguments are described. `fused=False`
takes the twin, as do types and devices without a kernel. The kernels serve float32 and bfloat16 (summing in
float32) on the CPU and, where castline was built with nvcc, on CUDA; they give the same bits every time, on the
CPU for any number of threads, and work under `torch.compile` and `torch.export`.
The gradients of fused ops cannot be differentiated again.
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from castline.errors import DeviceError
from castline.model import reference_ops
from castline.model.reference_ops import IGNORED


def _load() -> frozenset[str]:
    """Load the compiled ops and return the device types that they serve."""
    spec = find_spec("castline._ops")
    if spec is None or spec.origin is None:
        raise DeviceError(
            "expected the compiled ops beside castline (castline/_ops.so), but they are not there; "
            "build castline again, with torch installed: make build"
        )
    torch.ops.load_library(spec.origin)  # type: ignore[no-untyped-call]
    cuda = find_spec("castline._ops_cuda")
    if cuda is None or cuda.origin is None or not torch.cuda.is_available():
        return frozenset({"cpu"})
    torch.ops.load_library(cuda.origin)  # type: ignore[no-untyped-call]
    return frozenset({"cpu", "cuda"})


DEVICES = _load()
"""The device types that have kernels; the twins run on the others."""
_OPS = torch.ops.castline
_KERNEL_TYPES = (torch.float32, torch.bfloat16)


def _has_kernel(x: Tensor) -> bool:
    return x.dtype in _KERNEL_TYPES and x.device.type in DEVICES


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, fused: bool = True) -> Tensor:
    """See `reference_ops.rms_norm`."""
    if not (fused and _has_kernel(x)):
        return reference_ops.rms_norm(x, weight, eps)
    normed: Tensor = _OPS.rms_norm(x, weight, eps)[0]
    return normed


def add_rms_norm(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, *, fused: bool = True
) -> tuple[Tensor, Tensor]:
    """See `reference_ops.add_rms_norm`."""
    if not (fused and _has_kernel(x)):
        return reference_ops.add_rms_norm(x, residual, weight, eps)
    normed, total, _ = _OPS.add_rms_norm(x, residual, weight, eps)
    return normed, total


def rope(x: Tensor, cos: Tensor, sin: Tensor, *, fused: bool = True) -> Tensor:
    """See `reference_ops.rope`."""
    if not (fused and _has_kernel(x)):
        return reference_ops.rope(x, cos, sin)
    turned: Tensor = _OPS.rope(x, cos, sin, False)
    return turned


def rope_qkv(qkv: Tensor, cos: Tensor, sin: Tensor, *, fused: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """See `reference_ops.rope_qkv`."""
    if not (fused and _has_kernel(qkv)):
        return reference_ops.rope_qkv(qkv, cos, sin)
    q, k, v = _OPS.rope_qkv(qkv, cos, sin)
    return q, k, v


def swiglu(gate: Tensor, up: Tensor, *, fused: bool = True) -> Tensor:
    """See `reference_ops.swiglu`."""
    if not (fused and _has_kernel(gate)):
        return reference_ops.swiglu(gate, up)
    product: Tensor = _OPS.swiglu(gate, up)
    return product


def feed_forward(x: Tensor, w1: Tensor, w3: Tensor, w2: Tensor, *, fused: bool = True) -> Tensor:
    """See `reference_ops.feed_forward`. The kernel keeps w1 x and w3 x, and makes their product anew."""
    if not (fused and _has_kernel(x)):
        return reference_ops.feed_forward(x, w1, w3, w2)
    result: Tensor = _OPS.feed_forward(x, w1, w3, w2)[0]
    return result


def linear(x: Tensor, weight: Tensor, *, fused: bool = True) -> Tensor:
    """See `reference_ops.linear`."""
    if not (fused and _has_kernel(x)):
        return reference_ops.linear(x, weight)
    product: Tensor = _OPS.linear(x, weight)
    return product


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor, *, fused: bool = True) -> Tensor:
    """See `reference_ops.linear_cross_entropy`.

    The kernel computes the gradients with the loss, while a chunk's logits are in cache; the backward pass
    scales them in place, so it can run once.
    """
    if not (fused and _has_kernel(x)):
        return reference_ops.linear_cross_entropy(x, weight, targets)
    grad = torch.is_grad_enabled()
    total: Tensor = _OPS.linear_cross_entropy(
        x, weight, targets, IGNORED, grad and x.requires_grad, grad and weight.requires_grad
    )[0]
    return total


@torch.no_grad()
def token_losses(x: Tensor, weight: Tensor, targets: Tensor, *, fused: bool = True) -> Tensor:
    """See `reference_ops.token_losses`."""
    if not (fused and _has_kernel(x)):
        return reference_ops.token_losses(x, weight, targets)
    losses: Tensor = _OPS.linear_cross_entropy(x, weight, targets, IGNORED, False, False)[1]
    return losses


# The shapes of the results, for torch.compile and torch.export.


def _dense(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _rms_norm_shapes(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return _dense(x), x.new_empty(x.shape[:-1], dtype=torch.float32)


def _add_rms_norm_shapes(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return _dense(x), _dense(x), x.new_empty(x.shape[:-1], dtype=torch.float32)


def _rms_norm_backward_shapes(
    grad: Tensor, grad_total: Tensor | None, x: Tensor, weight: Tensor, inverse_rms: Tensor
) -> tuple[Tensor, Tensor]:
    return _dense(x), _dense(weight)


def _rope_shapes(x: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> Tensor:
    return _dense(x)


def _rope_qkv_shapes(qkv: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    tokens, kv_heads, packed, size = qkv.shape
    return (
        qkv.new_empty((tokens, kv_heads * (packed - 2), size)),
        qkv.new_empty((tokens, kv_heads, size)),
        qkv.new_empty((tokens, kv_heads, size)),
    )


def _rope_qkv_backward_shapes(grad_q: Tensor, grad_k: Tensor, grad_v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    tokens, heads, size = grad_q.shape
    kv_heads = grad_k.shape[1]
    return grad_q.new_empty((tokens, kv_heads, heads // kv_heads + 2, size))


def _swiglu_shapes(gate: Tensor, up: Tensor) -> Tensor:
    return _dense(gate)


def _swiglu_backward_shapes(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    return _dense(gate), _dense(gate)


def _feed_forward_shapes(x: Tensor, w1: Tensor, w3: Tensor, w2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    inner = (x.shape[0], w1.shape[0])
    return _dense(x), x.new_empty(inner), x.new_empty(inner)


def _feed_forward_backward_shapes(
    grad: Tensor, x: Tensor, w1: Tensor, w3: Tensor, w2: Tensor, gate: Tensor, up: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _dense(x), _dense(w1), _dense(w3), _dense(w2)


def _linear_shapes(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _matmul_shapes(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[1]))


def _linear_cross_entropy_shapes(
    x: Tensor, weight: Tensor, targets: Tensor, ignored: int, grad_x: bool, grad_weight: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        x.new_empty((), dtype=torch.float32),
        x.new_empty((x.shape[0],), dtype=torch.float32),
        x.new_empty((x.shape[0] if grad_x else 0, x.shape[1])),
        x.new_empty((weight.shape[0] if grad_weight else 0, x.shape[1])),
    )


# The derivatives.


def _rms_norm_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight, output[1])
    ctx.mark_non_differentiable(output[1])


def _rms_norm_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, Tensor, None]:
    x, weight, inverse_rms = ctx.saved_tensors
    grad_x, grad_weight = _OPS.rms_norm_backward(grad, None, x, weight, inverse_rms)
    return grad_x, grad_weight, None


def _add_rms_norm_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, total, inverse_rms = output
    ctx.save_for_backward(total, inputs[2], inverse_rms)
    ctx.mark_non_differentiable(inverse_rms)


def _add_rms_norm_backward(ctx: Any, grad: Tensor, grad_total: Tensor, _: Any) -> tuple[Tensor, Tensor, Tensor, None]:
    total, weight, inverse_rms = ctx.saved_tensors
    grad_x, grad_weight = _OPS.rms_norm_backward(grad, grad_total, total, weight, inverse_rms)
    return grad_x, grad_x, grad_weight, None


def _rope_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, cos, sin, ctx.inverse = inputs
    ctx.save_for_backward(cos, sin)


def _rope_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    cos, sin = ctx.saved_tensors
    return _OPS.rope(grad, cos, sin, not ctx.inverse), None, None, None


def _rope_qkv_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[1:])


def _rope_qkv_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
    return _OPS.rope_qkv_backward(*grads, *ctx.saved_tensors), None, None


def _swiglu_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _swiglu_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    grad_gate, grad_up = _OPS.swiglu_backward(grad, *ctx.saved_tensors)
    return grad_gate, grad_up


def _feed_forward_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, gate, up = output
    ctx.save_for_backward(*inputs, gate, up)
    ctx.mark_non_differentiable(gate, up)


def _feed_forward_backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, ...]:
    gradients: tuple[Tensor, ...] = _OPS.feed_forward_backward(grad, *ctx.saved_tensors)
    return gradients


def _linear_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    rows = grad.reshape(-1, weight.shape[0])
    grad_x = _OPS.matmul(rows, weight).view(x.shape) if ctx.needs_input_grad[0] else None
    grad_weight = _OPS.matmul(rows.t(), x.reshape(-1, weight.shape[1])) if ctx.needs_input_grad[1] else None
    return grad_x, grad_weight


def _linear_cross_entropy_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, losses, grad_x, grad_weight = output
    ctx.wanted = inputs[4], inputs[5]
    ctx.save_for_backward(grad_x, grad_weight)
    ctx.mark_non_differentiable(losses, grad_x, grad_weight)


def _scaled(gradient: Tensor, scale: Tensor) -> Tensor:
    # In place when run eagerly: the head's gradient is the largest tensor of the step, and a second backward
    # pass over the same graph meets autograd's version check. A traced graph plans its own memory.
    return gradient.mul_(scale) if type(gradient) is Tensor else gradient * scale


def _linear_cross_entropy_backward(
    ctx: Any, grad: Tensor, *_: Any
) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
    grads = [
        _scaled(saved, grad) if wanted else None for saved, wanted in zip(ctx.saved_tensors, ctx.wanted, strict=True)
    ]
    return grads[0], grads[1], None, None, None, None


for _name, _shapes in (
    ("rms_norm", _rms_norm_shapes),
    ("rms_norm_backward", _rms_norm_backward_shapes),
    ("add_rms_norm", _add_rms_norm_shapes),
    ("rope", _rope_shapes),
    ("rope_qkv", _rope_qkv_shapes),
    ("rope_qkv_backward", _rope_qkv_backward_shapes),
    ("swiglu", _swiglu_shapes),
    ("swiglu_backward", _swiglu_backward_shapes),
    ("feed_forward", _feed_forward_shapes),
    ("feed_forward_backward", _feed_forward_backward_shapes),
    ("linear", _linear_shapes),
    ("matmul", _matmul_shapes),
    ("linear_cross_entropy", _linear_cross_entropy_shapes),
):
    torch.library.register_fake(f"castline::{_name}", _shapes)

for _name, _backward, _context in (
    ("rms_norm", _rms_norm_backward, _rms_norm_context),
    ("add_rms_norm", _add_rms_norm_backward, _add_rms_norm_context),
    ("rope", _rope_backward, _rope_context),
    ("rope_qkv", _rope_qkv_backward, _rope_qkv_context),
    ("swiglu", _swiglu_backward, _swiglu_context),
    ("feed_forward", _feed_forward_backward, _feed_forward_context),
    ("linear", _linear_backward, _linear_context),
    ("linear_cross_entropy", _linear_cross_entropy_backward, _linear_cross_entropy_context),
):
    torch.library.register_autograd(f"castline::{_name}", _backward, setup_context=_context)
