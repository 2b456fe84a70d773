"""The CUDA ops: their kernels compile for every architecture without spills, their library serves every op, and
on a GPU they are held against the float64 twins. csrc/tests/test_cuda_kernels.cpp runs the kernels on the CPU."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from castline.model import ops, reference_ops

CSRC = Path(__file__).resolve().parents[2] / "csrc"
ARCHITECTURES = ("sm_80", "sm_90")
ROW_KERNELS = (
    "rms_norm_rows", "rms_norm_gradient_rows", "rope_pairs", "copy_elements", "swiglu_elements", "swiglu_gradients"
)  # fmt: skip


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile_and_stay_in_registers(architecture: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on this machine: the CUDA kernels are not compiled")
    warnings = ["-Xcompiler", "-Wall,-Wextra,-Werror", "-Werror", "all-warnings", "-Xptxas", "-v"]
    source = CSRC / "kernels" / "cuda" / "kernels.cu"
    command = [nvcc, "-std=c++20", f"-I{CSRC}", f"-arch={architecture}", *warnings, "-cubin", str(source)]
    result = subprocess.run([*command, "-o", str(tmp_path / "kernels")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]

    used = r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    report = re.findall(rf"Compiling entry function '(\w+)'.*?{used}", result.stderr, re.DOTALL)
    memory = {name: tuple(map(int, sizes)) for name, *sizes in report}
    assert {name: sizes for name, sizes in memory.items() if any(sizes)} == {}
    # Every kernel once per element, and once for 16 bytes at a time (4 float32, 8 bfloat16).
    for kernel in ROW_KERNELS:
        of_kernel = [name for name in memory if f"cuda{len(kernel)}{kernel}I" in name]
        widths = sorted(
            ("bfloat16" if "BFloat16" in name else "float32", n)
            for name in of_kernel
            for n in (1, 4, 8)
            if f"Li{n}E" in name
        )
        assert widths == [("bfloat16", 1), ("bfloat16", 8), ("float32", 1), ("float32", 4)], kernel
    for kernel, count in (("rms_norm_gradient_weight", 2), ("accumulate_elements", 2), ("cross_entropy_rows", 2)):
        assert sum(f"cuda{len(kernel)}{kernel}I" in name for name in memory) == count, kernel
    assert sum("sum_columns" in name or "sum_all" in name for name in memory) == 2


def test_the_library_serves_every_op_on_cuda() -> None:
    # In a process of its own: model/ops.py loads the library only where a GPU is.
    cpu, cuda = find_spec("castline._ops"), find_spec("castline._ops_cuda")
    if cuda is None:
        pytest.skip("castline was built without the CUDA ops")
    assert cpu is not None
    script = f"""
import torch
torch.ops.load_library({cpu.origin!r})
torch.ops.load_library({cuda.origin!r})
names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("castline::")]
missing = [name for name in names if not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")]
print(len(names), missing)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "13 []"


def angles(rows: int, pairs: int) -> tuple[Tensor, Tensor]:
    angle = torch.randn(rows, pairs)
    return angle.cos(), angle.sin()


CASES: dict[str, Callable[[int, int], tuple[Any, ...]]] = {
    "rms_norm": lambda rows, size: (torch.rand(rows, size) + 0.5, torch.randn(size), 1e-5),
    "add_rms_norm": lambda rows, size: (*(torch.rand(rows, size) + 0.5 for _ in range(2)), torch.randn(size), 1e-5),
    "rope": lambda rows, size: (torch.randn(rows, 3, 2 * size), *angles(rows, size)),
    "rope_qkv": lambda rows, size: (torch.randn(rows, 2, 5, 2 * size), *angles(rows, size)),
    "swiglu": lambda rows, size: (torch.randn(rows, size), torch.randn(rows, size)),
    "feed_forward": lambda rows, size: tuple(
        torch.randn(*shape) for shape in ((rows, 8), (size, 8), (size, 8), (8, size))
    ),
    "linear": lambda rows, size: (torch.randn(rows, 8), torch.randn(size, 8)),
    "linear_cross_entropy": lambda rows, size: (
        torch.randn(rows, 8), torch.randn(size, 8), torch.randint(size, (rows,))
    ),
}  # fmt: skip


needs_gpu = pytest.mark.skipif(
    "cuda" not in ops.DEVICES, reason="no CUDA device, or castline was built without the CUDA ops"
)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 17), (127, 1000), (1500, 64)])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_twin_on_a_gpu(name: str, rows: int, size: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(1)
    given = CASES[name](rows, size)
    tables = {1, 2} if name.startswith("rope") else set()

    def inputs(as_type: torch.dtype, device: str) -> list[Any]:
        return [
            x
            if not isinstance(x, Tensor)
            else x.to(device)
            if not x.is_floating_point() or (position in tables and as_type != torch.float64)
            else x.to(dtype).to(device, as_type).requires_grad_(position not in tables)
            for position, x in enumerate(given)
        ]

    results = []
    for module, arguments in ((ops, inputs(dtype, "cuda")), (reference_ops, inputs(torch.float64, "cpu"))):
        outputs = getattr(module, name)(*arguments)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
        gradients = torch.autograd.grad([o.sum() for o in outputs], wanted)
        results.append([t.detach().double().cpu() for t in (*outputs, *gradients)])
    for got, expected in zip(*results, strict=True):
        scale = max(1.0, expected.abs().max().item())
        assert (got - expected).abs().max().item() <= tolerance * scale


@pytest.mark.gpu
@needs_gpu
def test_the_same_bits_every_time_on_a_gpu() -> None:
    torch.manual_seed(1)
    x, weight, targets = torch.randn(3000, 512), torch.randn(1000, 512), torch.randint(1000, (3000,))
    results = []
    for _ in range(2):
        inputs = [t.cuda().requires_grad_() for t in (x, weight, x[0])]
        loss = ops.linear_cross_entropy(ops.rms_norm(inputs[0], inputs[2], 1e-5), inputs[1], targets.cuda())
        results.append([loss, *torch.autograd.grad(loss, inputs)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.gpu
@needs_gpu
def test_tensors_on_different_devices_are_refused_on_a_gpu() -> None:
    with pytest.raises(RuntimeError, match=r"\[rms_norm\] weight must be on cuda:0, but got the CPU"):
        ops.rms_norm(torch.ones(3, 4, device="cuda"), torch.ones(4), 1e-5)
