"""The fused ops against their twins in float64, and what they promise beyond values."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from castline.model import ops, reference_ops
from castline.model.reference_ops import IGNORED

TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 1.5e-2}
TYPES = list(TOLERANCE)
ROWS = [1, 3, 17, 127]
SIZES = [1, 3, 16, 17, 127]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    yield
    torch.set_num_threads(threads)


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape).to(dtype).requires_grad_()


def targets_for(rows: int, vocabulary: int) -> Tensor:
    targets = torch.randint(vocabulary, (rows,))
    targets[::5] = IGNORED
    return targets


def angles(rows: int, pairs: int) -> tuple[Tensor, Tensor]:
    angle = torch.randn(rows, pairs)
    return angle.cos(), angle.sin()


Function = Callable[..., Any]


def values_and_gradients(function: Function, inputs: tuple[Any, ...], draw: int = 7) -> list[Tensor]:
    """The results, then the gradients of the inputs for a fixed random gradient of the results."""
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(draw)
    weights = [torch.randn(output.shape, generator=generator).to(output.dtype) for output in outputs]
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    gradients = torch.autograd.grad(outputs, wanted, weights)
    return [t.detach() for t in (*outputs, *gradients)]


def check_against_twin(name: str, *inputs: Any) -> None:
    """The fused op's results and gradients lie within rounding of the twin's in float64."""
    fused = values_and_gradients(getattr(ops, name), inputs)
    wide = tuple(
        x.detach().double().requires_grad_(x.requires_grad) if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in inputs
    )
    twin = values_and_gradients(getattr(reference_ops, name), wide)
    dtype = inputs[0].dtype
    for position, (got, expected) in enumerate(zip(fused, twin, strict=True)):
        assert got.dtype == (torch.float32 if name == "linear_cross_entropy" and position == 0 else dtype)
        assert got.shape == expected.shape
        if got.numel():
            scale = max(1.0, expected.abs().max().item())
            assert (got.double() - expected).abs().max().item() <= TOLERANCE[dtype] * scale, (name, position)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("size", SIZES)
def test_row_ops_equal_the_twins(rows: int, size: int, dtype: torch.dtype) -> None:
    # Away from zero: the norm of a tiny row is ill-conditioned in any arithmetic.
    x = (torch.rand(rows, size) + 0.5).to(dtype).requires_grad_()
    residual, weight = normal(rows, size, dtype=dtype), normal(size, dtype=dtype)
    check_against_twin("rms_norm", x, weight, 1e-5)
    check_against_twin("add_rms_norm", x, x.detach().square().requires_grad_(), weight, 1e-5)
    check_against_twin("swiglu", residual, x)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 2, 6), (17, 3, 2, 34), (64, 2, 6, 64)])
def test_rope_equals_its_twin(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    check_against_twin("rope", normal(*shape, dtype=dtype), *angles(shape[0], shape[-1] // 2))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1, 1, 3, 2), (3, 2, 5, 6), (64, 2, 6, 64)])
def test_packed_rope_equals_its_twin(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    check_against_twin("rope_qkv", normal(*shape, dtype=dtype), *angles(shape[0], shape[-1] // 2))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "size", "inner"), [(1, 1, 1), (3, 5, 17), (1500, 16, 24)])
def test_feed_forward_equals_its_twin(rows: int, size: int, inner: int, dtype: torch.dtype) -> None:
    weights = [normal(*shape, dtype=dtype) for shape in ((inner, size), (inner, size), (size, inner))]
    check_against_twin("feed_forward", normal(rows, size, dtype=dtype), *weights)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "size", "out"), [(1, 1, 1), (3, 17, 5), (127, 64, 33), (300, 130, 70)])
def test_products_equal_the_twins(rows: int, size: int, out: int, dtype: torch.dtype) -> None:
    x, weight = normal(rows, size, dtype=dtype), normal(out, size, dtype=dtype)
    check_against_twin("linear", x, weight)
    check_against_twin("linear_cross_entropy", x, weight, targets_for(rows, out))


def test_the_loss_of_several_chunks_equals_its_twin() -> None:
    # At most 1024 rows are held at a time.
    check_against_twin("linear_cross_entropy", normal(1500, 3), normal(17, 3), targets_for(1500, 17))


def test_strided_inputs_are_read_or_copied() -> None:
    pair = torch.randn(6, 3, 40).requires_grad_()
    check_against_twin("swiglu", pair[..., :20], pair[..., 20:])
    check_against_twin("swiglu", pair[..., ::2], pair[:, :, 1::2])
    check_against_twin("swiglu", pair.transpose(0, 1), pair.transpose(0, 1))
    packed = torch.randn(6, 2, 5, 8).requires_grad_()
    check_against_twin("rope", packed[:, :, :4], *angles(6, 4))
    check_against_twin("rope", packed[:, 1], *angles(6, 4))
    check_against_twin("rope", packed.transpose(0, 3), *angles(8, 3))
    check_against_twin("rope_qkv", packed[:, :, 1:], *angles(6, 4))
    check_against_twin("rope_qkv", packed.transpose(0, 3), *angles(8, 3))
    square = torch.randn(9, 9).requires_grad_()
    check_against_twin("rms_norm", square.t(), torch.randn(18)[::2].requires_grad_(), 1e-5)
    check_against_twin("add_rms_norm", square.t(), square[::1], torch.ones(9).requires_grad_(), 1e-5)
    check_against_twin("feed_forward", square.t(), square[:4], square.t()[:4], square[:, :4])
    check_against_twin("linear", square.t(), torch.randn(4, 18)[:, ::2].requires_grad_())
    check_against_twin("linear_cross_entropy", square.t(), square.t(), torch.arange(18)[::2] % 9)


def test_an_expanded_gradient_is_accepted() -> None:
    x, weight = normal(5, 16), normal(16)
    ops.rms_norm(x, weight, 1e-5).sum().backward()
    ops.linear(x, normal(3, 16)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", TYPES)
def test_empty_inputs(dtype: torch.dtype) -> None:
    x, weight = normal(0, 16, dtype=dtype), normal(16, dtype=dtype)
    check_against_twin("rms_norm", x, weight, 1e-5)
    check_against_twin("add_rms_norm", x, normal(0, 16, dtype=dtype), weight, 1e-5)
    check_against_twin("swiglu", x, normal(0, 16, dtype=dtype))
    check_against_twin("rope", normal(0, 2, 16, dtype=dtype), *angles(0, 8))
    check_against_twin("rope_qkv", normal(0, 2, 3, 16, dtype=dtype), *angles(0, 8))
    check_against_twin("feed_forward", x, *(normal(16, 16, dtype=dtype) for _ in range(3)))
    check_against_twin("linear", x, normal(3, 16, dtype=dtype))
    loss = ops.linear_cross_entropy(x, normal(3, 16, dtype=dtype), torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert ops.swiglu(normal(4, 0), normal(4, 0)).shape == (4, 0)


def test_ignored_targets_have_no_loss_and_no_gradient() -> None:
    x, weight = normal(6, 8), normal(11, 8)
    targets = torch.tensor([3, IGNORED, 10, IGNORED, 0, IGNORED])
    total = ops.linear_cross_entropy(x, weight, targets)
    total.backward()
    losses = ops.token_losses(x, weight, targets)
    assert x.grad is not None
    assert torch.equal(losses == 0, targets == IGNORED)
    assert torch.equal((x.grad == 0).all(dim=1), targets == IGNORED)
    assert torch.allclose(losses.sum(), total.detach())
    assert torch.allclose(losses, reference_ops.token_losses(x, weight, targets))


def test_the_loss_computes_only_the_gradients_that_are_wanted() -> None:
    x, weight, targets = normal(5, 8), normal(9, 8), targets_for(5, 9)
    both = values_and_gradients(ops.linear_cross_entropy, (x, weight, targets))
    only_x = values_and_gradients(ops.linear_cross_entropy, (x, weight.detach(), targets))
    only_weight = values_and_gradients(ops.linear_cross_entropy, (x.detach(), weight, targets))
    assert torch.equal(only_x[1], both[1])
    assert torch.equal(only_weight[1], both[2])
    with torch.no_grad():
        assert ops.linear_cross_entropy(x, weight, targets).equal(both[0])


def test_a_second_backward_pass_is_an_error_and_not_a_wrong_gradient() -> None:
    loss = ops.linear_cross_entropy(normal(5, 8), normal(9, 8), targets_for(5, 9))
    (loss * 2).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (loss * 2).backward()


def every_op(rows: int, dtype: torch.dtype) -> list[Tensor]:
    x, residual, weight = normal(rows, 96, dtype=dtype), normal(rows, 96, dtype=dtype), normal(96, dtype=dtype)
    matrix = normal(200, 96, dtype=dtype)
    results: list[Tensor] = []
    for function, inputs in (
        (ops.rms_norm, (x, weight, 1e-5)),
        (ops.add_rms_norm, (x, residual, weight, 1e-5)),
        (ops.swiglu, (x, residual)),
        (ops.rope, (normal(rows, 3, 32, dtype=dtype), *angles(rows, 16))),
        (ops.rope_qkv, (normal(rows, 2, 5, 32, dtype=dtype), *angles(rows, 16))),
        (ops.feed_forward, (x, matrix, matrix, normal(96, 200, dtype=dtype))),
        (ops.linear, (x, matrix)),
        (ops.linear_cross_entropy, (x, matrix, targets_for(rows, 200))),
    ):
        results += values_and_gradients(function, inputs)
    return results


@pytest.mark.parametrize("dtype", TYPES)
def test_results_do_not_depend_on_threads_or_instruction_set(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = ["scalar"]
    flags = Path("/proc/cpuinfo").read_text()
    levels += [level for level, flag in (("avx2", " avx2 "), ("avx512", " avx512_vnni ")) if flag in flags]
    results = []
    for level in levels:
        for threads in (1, 2, 3):
            monkeypatch.setenv("CASTLINE_CPU", level)
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            results.append(every_op(1000, dtype))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_other_types_and_the_switch_take_the_twin() -> None:
    x, weight = normal(4, 8, dtype=torch.float64), normal(8, dtype=torch.float64)
    assert torch.equal(ops.rms_norm(x, weight, 1e-5), reference_ops.rms_norm(x, weight, 1e-5))
    x, weight = normal(300, 8), normal(8)
    assert torch.equal(ops.rms_norm(x, weight, 1e-5, fused=False), reference_ops.rms_norm(x, weight, 1e-5))


OPCHECKS: dict[str, Callable[[torch.dtype], tuple[Any, ...]]] = {
    "rms_norm": lambda d: (normal(5, 24, dtype=d), normal(24, dtype=d), 1e-5),
    "add_rms_norm": lambda d: (normal(5, 24, dtype=d), normal(5, 24, dtype=d), normal(24, dtype=d), 1e-5),
    "rms_norm_backward": lambda d: (
        *(normal(5, 24, dtype=d).detach() for _ in range(3)),
        normal(24, dtype=d).detach(),
        torch.ones(5),
    ),
    "rope": lambda d: (normal(5, 2, 8, dtype=d), *angles(5, 4), False),
    "rope_qkv": lambda d: (normal(5, 2, 5, 8, dtype=d), *angles(5, 4)),
    "rope_qkv_backward": lambda d: (
        normal(5, 6, 8, dtype=d).detach(), *(normal(5, 2, 8, dtype=d).detach() for _ in range(2)), *angles(5, 4)
    ),
    "swiglu": lambda d: (normal(5, 24, dtype=d), normal(5, 24, dtype=d)),
    "swiglu_backward": lambda d: tuple(normal(5, 24, dtype=d).detach() for _ in range(3)),
    "feed_forward": lambda d: (
        normal(5, 8, dtype=d), normal(7, 8, dtype=d), normal(7, 8, dtype=d), normal(8, 7, dtype=d)
    ),
    "feed_forward_backward": lambda d: tuple(
        normal(*shape, dtype=d).detach() for shape in ((5, 8), (5, 8), (7, 8), (7, 8), (8, 7), (5, 7), (5, 7))
    ),
    "linear": lambda d: (normal(2, 5, 24, dtype=d), normal(7, 24, dtype=d)),
    "matmul": lambda d: (normal(5, 24, dtype=d).detach(), normal(24, 7, dtype=d).detach()),
    "linear_cross_entropy": lambda d: (
        normal(5, 24, dtype=d), normal(7, 24, dtype=d), targets_for(5, 7), IGNORED, True, True
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", OPCHECKS)
def test_opcheck(name: str, dtype: torch.dtype) -> None:
    torch.library.opcheck(getattr(torch.ops.castline, name), OPCHECKS[name](dtype))


def block(x: Tensor, norm: Tensor, wqkv: Tensor, w1: Tensor, w2: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Every op in one graph, as a decoder chains them."""
    cos, sin = torch.ones(x.shape[0], 4), torch.zeros(x.shape[0], 4)
    qkv = ops.linear(ops.rms_norm(x, norm, 1e-5), wqkv)
    q, k, v = ops.rope_qkv(qkv.view(x.shape[0], 1, 4, 8), cos, sin)
    mixed = (ops.rope(q, cos, sin) * k * v).flatten(1)
    normed, total = ops.add_rms_norm(mixed, x, norm, 1e-5)
    normed, _ = ops.add_rms_norm(ops.feed_forward(normed, w1, ops.swiglu(w1, w1), w2), total, norm, 1e-5)
    return ops.linear_cross_entropy(normed, head, targets)


def block_inputs() -> tuple[Tensor, ...]:
    matrices = (normal(*shape) for shape in ((32, 16), (24, 16), (16, 24), (11, 16)))
    return normal(9, 16), normal(16), *matrices, targets_for(9, 11)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside torch
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_without_graph_breaks(backend: str) -> None:
    inputs = block_inputs()
    compiled = torch.compile(block, backend=backend, fullgraph=True)
    expected = values_and_gradients(block, inputs)
    for got, eager in zip(values_and_gradients(compiled, inputs), expected, strict=True):
        torch.testing.assert_close(got, eager)


def test_exports() -> None:
    class Block(torch.nn.Module):
        def forward(self, *inputs: Tensor) -> Tensor:
            return block(*inputs)

    inputs = tuple(t.detach() for t in block_inputs())
    program = torch.export.export(Block(), inputs)
    assert torch.equal(program.module()(*inputs), block(*inputs))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.rms_norm(normal(3, 4), normal(5), 1e-5),
         r"\[rms_norm\] weight must have the shape \[4\], but got \[5\]"),
        (lambda: ops.rms_norm(normal(3, 4), normal(4, dtype=torch.bfloat16), 1e-5),
         r"\[rms_norm\] weight must be of type Float, but got BFloat16"),
        (lambda: ops.rms_norm(normal(3, 0), normal(0), 1e-5), r"\[rms_norm\] x must .*, but got \[3, 0\]"),
        (lambda: ops.add_rms_norm(normal(3, 4), normal(4, 3), normal(4), 1e-5),
         r"\[add_rms_norm\] residual must have the shape \[3, 4\], but got \[4, 3\]"),
        (lambda: ops.swiglu(normal(3, 4), normal(3, 5)), r"\[swiglu\] up must .* \[3, 4\], but got \[3, 5\]"),
        (lambda: ops.rope(normal(3, 2, 5), *angles(3, 2)), r"\[rope\] x must .*even.*, but got \[3, 2, 5\]"),
        (lambda: ops.rope(normal(3, 2, 4), *angles(2, 2)),
         r"\[rope\] cos and sin must be float32 of the shape \[3, 2\], but got Float \[2, 2\]"),
        (lambda: ops.rope_qkv(normal(3, 2, 2, 4), *angles(3, 2)),
         r"\[rope_qkv\] qkv must have the shape .*, but got \[3, 2, 2, 4\]"),
        (lambda: ops.feed_forward(normal(3, 4), normal(5, 4), normal(5, 4), normal(5, 4)),
         r"\[feed_forward\] w2 must have the shape \[4, 5\], but got \[5, 4\]"),
        (lambda: ops.linear(normal(3, 4), normal(4, 3)), r"\[linear\] x must .*, but got \[3, 4\] and \[4, 3\]"),
        (lambda: ops.linear_cross_entropy(normal(3, 4), normal(5, 4), torch.tensor([0, 5, 1])),
         r"\[linear_cross_entropy\] targets must be from 0 to 4 or -100, but got 5 at 1"),
        (lambda: ops.linear_cross_entropy(normal(3, 4), normal(5, 4), torch.tensor([0, 1])),
         r"\[linear_cross_entropy\] targets must be int64 of the shape \[3\], but got Long \[2\]"),
        (lambda: torch.ops.castline.swiglu(torch.ones(2, dtype=torch.float64), torch.ones(2)),
         r"\[swiglu\] gate must be float32 or bfloat16, but got Double"),
    ],
)  # fmt: skip
def test_wrong_inputs_say_what_is_wrong(call: Callable[[], object], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()
