"""Claim: every fused op at least as fast as torch.compile of its PyTorch twin, in less memory than eager's.

    python benchmarks/ops.py [--ops swiglu rope_qkv …] [--dtypes float32 bfloat16] [--threads 1] [--rounds 5]

An op's forward and backward pass at the shapes of a 31M decoder (512 wide, 8 heads and 2 key/value heads of 64, 1,408
inner, vocabulary 16,384) and one sequence of 1,024 tokens. The ways to run it are processes that take their turns one
at a time, and the median of the rounds counts: processor time with one thread, wall time with more. Freed memory stays
with these processes (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_), as in a training run: small ops would measure the
system's zeroing of pages instead.

Memory is the highest resident size during the passes above that with the inputs in place, so results, gradients and
whatever an op keeps or needs on the way. Processes of their own measure it, whose allocator gives every tensor of
64 KiB and more back to the system at once (MALLOC_MMAP_THRESHOLD_), so that nothing freed earlier is used unseen.

The ceiling of an op that moves memory is a plain copy of as many bytes as its passes must read and write, each once;
that of an op made of matrix products is the faster of torch's and castline's product of that type, 2,048 cubed.
"""

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOKENS, SIZE, INNER, VOCABULARY = 1024, 512, 1408, 16_384
HEADS, KV_HEADS, HEAD_SIZE = 8, 2, 64
QKV = (TOKENS, KV_HEADS, HEADS // KV_HEADS + 2, HEAD_SIZE)
DTYPES = {"float32": 4, "bfloat16": 2}

# Elements that the passes must read and write: inputs, results, their gradients and what the formulas need again.
MOVED = {
    "rms_norm": 5 * TOKENS * SIZE,
    "add_rms_norm": 8 * TOKENS * SIZE,
    "rope": 4 * TOKENS * HEADS * HEAD_SIZE,
    "rope_qkv": 4 * math.prod(QKV),
    "swiglu": 8 * TOKENS * INNER,
}
# FLOPs of the products, 2 forward and 4 backward per weight and token.
FLOPS = {
    "feed_forward": 6 * TOKENS * 3 * SIZE * INNER,
    "linear_cross_entropy": 6 * TOKENS * SIZE * VOCABULARY,
}
OPS = [*MOVED, *FLOPS]
WAYS = {"castline": "castline", "eager": "eager twin", "compile": "torch.compile of the twin"}
CEILING = "ceiling"
SECONDS = 0.03  # that one measurement takes at least

Call = Callable[[], object]


# The worker: one way to run the ops, told on stdin which one to measure.


def make_call(way: str, name: str, dtype: str) -> Call:
    """The op's inputs; a call runs both passes."""
    import torch

    from castline.model import ops, reference_ops

    torch.manual_seed(0)
    kind = getattr(torch, dtype)

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return (torch.randn(shape) * scale).to(kind).requires_grad_()

    angle = torch.rand(TOKENS, HEAD_SIZE // 2)
    tables = angle.cos(), angle.sin()
    small = SIZE**-0.5
    makers: dict[str, Callable[[], tuple[Any, ...]]] = {
        "rms_norm": lambda: (normal(TOKENS, SIZE), normal(SIZE), 1e-5),
        "add_rms_norm": lambda: (normal(TOKENS, SIZE), normal(TOKENS, SIZE), normal(SIZE), 1e-5),
        "rope": lambda: (normal(TOKENS, HEADS, HEAD_SIZE), *tables),
        "rope_qkv": lambda: (normal(*QKV), *tables),
        "swiglu": lambda: (normal(TOKENS, INNER), normal(TOKENS, INNER)),
        "feed_forward": lambda: (
            normal(TOKENS, SIZE),
            normal(INNER, SIZE, scale=small),
            normal(INNER, SIZE, scale=small),
            normal(SIZE, INNER, scale=small),
        ),
        "linear_cross_entropy": lambda: (
            normal(TOKENS, SIZE),
            normal(VOCABULARY, SIZE, scale=small),
            torch.randint(VOCABULARY, (TOKENS,)),
        ),
    }
    inputs = makers[name]()
    function = getattr(ops if way == "castline" else reference_ops, name)
    if way == "compile":
        function = torch.compile(function, dynamic=False)
    wanted = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad]
    gradients: list[Any] = []

    def call() -> object:
        outputs = function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        if not gradients:
            gradients.extend(torch.randn(output.shape).to(output.dtype) for output in outputs)
        return torch.autograd.grad(outputs, wanted, gradients)

    return call


def make_ceiling(name: str, dtype: str) -> Call:
    """The copy or the product that bounds an op; a product returns its GFLOP/s."""
    import torch

    from castline.model import ops

    if name in MOVED:
        half = MOVED[name] * DTYPES[dtype] // 2
        source, target = torch.ones(half, dtype=torch.uint8), torch.ones(half, dtype=torch.uint8)
        return lambda: target.copy_(source)
    a, b = (torch.randn(2048, 2048).to(getattr(torch, dtype)) for _ in range(2))
    took = {product: timed(lambda p=product: p(a, b), 1) for product in (torch.nn.functional.linear, ops.linear)}
    fastest = min(took, key=lambda product: took[product])
    return lambda: fastest(a, b)


def timed(call: Callable[[], object], threads: int) -> float:
    """Seconds of one call, from as many as fill SECONDS."""
    clock = time.process_time if threads == 1 else time.perf_counter
    count, began = 0, clock()
    while clock() - began < SECONDS:
        call()
        count += 1
    return (clock() - began) / count


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def peak(call: Call) -> float:
    gc.collect()
    base = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident size so far
    call()
    return resident("VmHWM") - base


def serve(way: str, options: argparse.Namespace) -> None:
    """A line of input names an op; the answer is its seconds, or its peak in MB."""
    import torch

    torch.set_num_threads(options.threads)
    dtype = options.dtypes[0]
    calls: dict[str, Call] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in calls:
            calls[name] = make_ceiling(name, dtype) if way == CEILING else make_call(way, name, dtype)
            for _ in range(3):
                calls[name]()
        measured = peak(calls[name]) if options.memory else timed(calls[name], options.threads)
        print(json.dumps(measured), flush=True)


# The parent: starts the workers, gives them turns, prints the tables.


class Worker:
    """A process that measures one op at a time."""

    def __init__(self, way: str, dtype: str, options: argparse.Namespace, *, memory: bool) -> None:
        command = [sys.executable, __file__, "--worker", way, "--dtypes", dtype, "--threads", str(options.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        if memory:
            command.append("--memory")
        environment["MALLOC_MMAP_THRESHOLD_"] = str(64 << 10 if memory else 32 << 20)
        environment["MALLOC_TRIM_THRESHOLD_"] = str(64 << 10 if memory else 1 << 34)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def measure(self, name: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        measured: float = json.loads(self.process.stdout.readline())
        return measured

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(ways: tuple[str, ...], dtype: str, options: argparse.Namespace, *, memory: bool) -> dict[str, list[float]]:
    """The median of the rounds for every way, in the order of the ops."""
    workers = {way: Worker(way, dtype, options, memory=memory) for way in ways}
    medians: dict[str, list[float]] = {way: [] for way in ways}
    for name in options.ops:
        for worker in workers.values():
            worker.measure(name)  # warms up, compiles
        rounds = [{way: worker.measure(name) for way, worker in workers.items()} for _ in range(options.rounds)]
        for way in ways:
            medians[way].append(statistics.median(one[way] for one in rounds))
    for worker in workers.values():
        worker.stop()
    return medians


def mean_ratio(ours: list[float], theirs: list[float]) -> float:
    """Geometric mean."""
    return math.exp(statistics.mean(math.log(b / a) for a, b in zip(ours, theirs, strict=True)))


def table(dtype: str, options: argparse.Namespace) -> None:
    seconds = measure((*WAYS, CEILING), dtype, options, memory=False)
    peaks = measure(tuple(WAYS), dtype, options, memory=True)
    kind = "processor" if options.threads == 1 else "wall"
    print(f"\n{dtype}, {TOKENS} tokens, {options.threads} thread(s), {kind} time of forward and backward\n")
    print("| op | castline ms | eager ms | torch.compile ms | faster than eager | than compile ", end="")
    print("| of the ceiling | peak MB | eager's | compile's | of eager |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for i, name in enumerate(options.ops):
        ours, eager, compiled = (seconds[way][i] for way in WAYS)
        mine, of_eager, of_compiled = (peaks[way][i] for way in WAYS)
        ceiling = seconds[CEILING][i]
        if name in FLOPS:
            ceiling *= FLOPS[name] / (2 * 2048**3)
        print(
            f"| {name} | {ours * 1e3:.2f} | {eager * 1e3:.2f} | {compiled * 1e3:.2f} | {eager / ours:.2f} x "
            f"| {compiled / ours:.2f} x | {ceiling / ours:.0%} | {mine:.1f} | {of_eager:.1f} | {of_compiled:.1f} "
            f"| {mine / of_eager:.2f} |"
        )
    faster = {way: mean_ratio(seconds["castline"], seconds[way]) for way in ("eager", "compile")}
    leaner = mean_ratio(peaks["eager"], peaks["castline"])
    print(
        f"\ngeometric mean: {faster['eager']:.2f} times as fast as eager, {faster['compile']:.2f} times as fast as ",
        end="",
    )
    print(f"torch.compile, in {leaner:.2f} of eager's memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=[*WAYS, CEILING], help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options.worker, options)
        return
    for dtype in options.dtypes:
        table(dtype, options)


if __name__ == "__main__":
    main()
