"""Claim: a training step at least 1.15 times as fast as torch.compile's, in at most 0.6 of eager's memory.

    python benchmarks/train_step.py [--batch 1 4] [--threads 1] [--rounds 5] [--bfloat16]

The step (forward, backward, clipping, AdamW) of a 31M decoder: 8 layers, 512 wide, 8/2 heads, tied vocabulary of
16,384, sequences of 1,024. Every way to run it is a process of its own; the processes take their steps in turns, one
at a time, and the median of the rounds counts. Wall time is what a user waits; processor time is the same on a quiet
machine with one thread and steadier on a busy one.

Memory is the highest resident size during the steps above that of the process with its libraries in use, before the
model was made (compilation itself does not count). The ceiling is the faster of torch's and castline's float32
matrix product, 2,048 cubed, in the same rounds; the share counts 6 FLOPs per matrix parameter and token and
6 · T² · width per layer and sequence for causal attention.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LENGTH = 1024
MODEL: dict[str, Any] = {
    "vocab_size": 16_384,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": LENGTH,
    "tie_word_embeddings": True,
}
TINY = {**MODEL, "vocab_size": 128, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
WAYS = {
    "castline": "castline, fused ops",
    "eager": "castline, plain PyTorch",
    "compile": "castline, plain, torch.compile",
    "transformers": "transformers Llama, torch.compile",
}
CEILING = "ceiling"

Step = Callable[[], float]


# The worker: one way to run the step, told on stdin when to take one.


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def make_step(way: str, model: dict[str, Any], batch: int, bfloat16: bool) -> Step:
    """The model, its optimizer and its data; a call trains one step and returns the loss."""
    import torch

    from castline.model.config import ModelConfig
    from castline.model.decoder import Decoder

    torch.manual_seed(0)
    tokens = torch.randint(model["vocab_size"], (batch, LENGTH + 1))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    decoder: Any
    if way == "transformers":
        from transformers import LlamaConfig, LlamaForCausalLM

        decoder = LlamaForCausalLM(LlamaConfig(**model, use_cache=False, attn_implementation="sdpa"))
        compiled = torch.compile(decoder)

        def loss() -> Any:
            return compiled(input_ids=inputs, labels=inputs, shift_labels=targets).loss
    else:
        decoder = Decoder(ModelConfig(**model), fused=way == "castline")
        summed = torch.compile(decoder.loss) if way == "compile" else decoder.loss

        def loss() -> Any:
            return summed(inputs, targets) / targets.numel()

    if bfloat16:
        decoder.bfloat16()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        return float(value.detach())

    return step


def matmul_ceiling() -> Step:
    """The faster of two matrix products, in GFLOP/s."""
    import torch

    from castline.model import ops

    size = 2048
    a, b = torch.randn(size, size), torch.randn(size, size)

    def rate(function: Callable[[], object]) -> float:
        began = time.process_time()
        function()
        return 2 * size**3 / (time.process_time() - began) / 1e9 * torch.get_num_threads()

    return lambda: max(rate(lambda: a @ b.t()), rate(lambda: ops.linear(a, b)))


def serve(way: str, batch: int, threads: int, bfloat16: bool) -> None:
    """Warm up, then a step per line of input, each answered by a line of JSON."""
    import torch

    torch.set_num_threads(threads)
    if way == CEILING:
        step, base = matmul_ceiling(), 0.0
    else:
        tiny = make_step(way, TINY, 1, bfloat16)
        tiny()
        del tiny
        gc.collect()
        base = resident("VmRSS")
        step = make_step(way, MODEL, batch, bfloat16)
    for _ in range(2):
        step()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident size so far
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        value = step()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        peak = resident("VmHWM") - base
        print(json.dumps({"wall": wall, "processor": processor, "value": value, "peak": peak}), flush=True)


# The parent: starts the workers, gives them turns, prints the table.


class Worker:
    """A process that takes one step at a time."""

    def __init__(self, way: str, batch: int, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--worker", way, "--batch", str(batch), "--threads", str(options.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        self.process = subprocess.Popen(
            command + ["--bfloat16"] * options.bfloat16,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.answer()

    def answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer

    def step(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def flops(batch: int) -> float:
    """Of one step, forward and backward, without what is computed twice."""
    width, inner = MODEL["hidden_size"], MODEL["intermediate_size"]
    kv_width = width * MODEL["num_key_value_heads"] // MODEL["num_attention_heads"]
    per_layer = 2 * width * width + 2 * width * kv_width + 3 * width * inner
    matrices = MODEL["num_hidden_layers"] * per_layer + MODEL["vocab_size"] * width
    attention = MODEL["num_hidden_layers"] * 6 * LENGTH**2 * width
    return batch * (6.0 * matrices * LENGTH + attention)


def measure(batch: int, options: argparse.Namespace) -> None:
    """One table: every way at this batch size."""
    workers = {way: Worker(way, batch, options) for way in (*options.ways, CEILING)}
    rounds = [{way: worker.step() for way, worker in workers.items()} for _ in range(options.rounds)]
    for worker in workers.values():
        worker.stop()
    ceiling = max(r[CEILING]["value"] for r in rounds)
    tokens = batch * LENGTH

    def median(way: str, key: str) -> float:
        return statistics.median(r[way][key] for r in rounds)

    print(f"\n{batch} x {LENGTH} tokens, {options.threads} thread(s), {'bfloat16' if options.bfloat16 else 'float32'};")
    print(f"matrix product ceiling {ceiling:.0f} GFLOP/s, {options.rounds} rounds in turns\n")
    print("| way | tokens/s | tokens per processor second | castline is | peak MB | of eager | of ceiling | loss |")
    print("|---|---|---|---|---|---|---|---|")
    for way in options.ways:
        faster = median(way, "processor") / median("castline", "processor") if "castline" in options.ways else 1.0
        of_eager = f"{median(way, 'peak') / median('eager', 'peak'):.2f}" if "eager" in options.ways else "-"
        share = flops(batch) / (median(way, "processor") / options.threads) / (ceiling * 1e9)
        print(
            f"| {WAYS[way]} | {tokens / median(way, 'wall'):.0f} | {tokens / median(way, 'processor'):.0f} "
            f"| {faster:.2f} x | {median(way, 'peak'):.0f} | {of_eager} | {share:.0%} "
            f"| {rounds[-1][way]['value']:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="sequences per step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bfloat16", action="store_true", help="parameters and activations in bfloat16")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--worker", choices=[*WAYS, CEILING], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options.worker, options.batch[0], options.threads, options.bfloat16)
        return
    for batch in options.batch:
        measure(batch, options)


if __name__ == "__main__":
    main()
