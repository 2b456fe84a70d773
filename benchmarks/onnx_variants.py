"""The standard ONNX graph against the one in ONNX Runtime's own operators, both in ONNX Runtime on the CPU.

    python benchmarks/onnx_variants.py CHECKPOINT [--threads 2] [--rounds 5]

Medians over rounds that alternate: reading a prompt of 128 tokens, and generating 32 tokens after it.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from castline.compile.assignment import assign
from castline.compile.config import CompileConfig
from castline.compile.graph import DecoderGraph, write_graph
from castline.compile.graph_contrib import ContribGraph
from castline.compile.onnx_runtime import OnnxModel
from castline.compile.weights import Weights
from castline.model.checkpoint import CheckpointReader

PROMPT, GENERATED = 128, 32


def seconds(model: OnnxModel) -> tuple[float, float]:
    """Of reading the prompt, and of generating."""
    ids = list(range(100, 100 + PROMPT + GENERATED))
    start = time.perf_counter()
    model.logits(ids[:PROMPT])
    read = time.perf_counter() - start
    start = time.perf_counter()
    model.logits(ids, decode=GENERATED)
    return read, time.perf_counter() - start - read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    reader = CheckpointReader(options.checkpoint)
    print(f"{'weights':8}{'graph':10}{'prompt, tokens/s':>18}{'generated, tokens/s':>21}")
    for kind in ("f32", "int8", "int4"):
        assignment = assign(reader.config, CompileConfig.model_validate({"weights": kind})).for_target("onnx")
        with tempfile.TemporaryDirectory() as folder:
            models = {}
            for name, variant in (("standard", DecoderGraph), ("own", ContribGraph)):
                path = Path(folder) / name / "model.onnx"
                weights = Weights(reader, None)
                write_graph(reader, path, assignment, weights, compute="f32", context=512, variant=variant)
                models[name] = OnnxModel(path, options.threads)
                seconds(models[name])
            rounds = [{name: seconds(model) for name, model in models.items()} for _ in range(options.rounds)]
        for name in models:
            read, generated = (statistics.median(one[name][part] for one in rounds) for part in (0, 1))
            print(f"{kind:8}{name:10}{PROMPT / read:18.1f}{GENERATED / generated:21.1f}")


if __name__ == "__main__":
    main()
