"""Claim: a model of InternLM2-1.8B's real size becomes an int4 package, proof included, in at most 8 GB of memory.

    python benchmarks/compile_scale.py --folder /where/8GB/fit [--layers 24] [--stop-after SECONDS]

Random weights in bfloat16, written once (3.8 GB), then `castline compile` in a process of its own, whose anonymous
memory (RssAnon: what cannot be dropped and read again) is sampled. Mapped files do not count, nor does the disk
cache. With --stop-after the compilation is killed after so many seconds; run again, it goes on where it was.
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from castline.model.checkpoint import write_checkpoint
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes

SIZE = {
    "vocab_size": 92_544,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "rope_theta": 1_000_000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
INTERVAL = 0.02
NOISE = 16_777_213  # a prime: rows that repeat it begin elsewhere


class RandomTensors(Mapping[str, Tensor]):
    """Weights of a model that has learned nothing, each made when it is asked for: pieces of one table of noise.

    Rows have a length of about one, those that write into the residual stream less, so logits have a spread of one.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._shapes = layout_shapes(config, "llama")
        self._depth = math.sqrt(2 * config.num_hidden_layers)
        self._noise = torch.empty(NOISE).normal_(generator=torch.Generator().manual_seed(1))

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if len(shape) == 1:
            return torch.ones(shape, dtype=torch.bfloat16)
        shrunk = name.endswith(("o_proj.weight", "down_proj.weight"))
        scale = 1 / math.sqrt(shape[1]) / (self._depth if shrunk else 1)
        noise = (self._noise.roll(7919 * list(self._shapes).index(name)) * scale).bfloat16()
        return noise.repeat(-(-math.prod(shape) // NOISE))[: math.prod(shape)].view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def watch(process: subprocess.Popen[str], partial: Path, limit: float | None) -> tuple[dict[str, int], float]:
    """The most anonymous memory of a process, in bytes, by what it had finished before; and its seconds."""
    status = Path(f"/proc/{process.pid}/status")
    peaks: dict[str, int] = {}
    start = time.perf_counter()
    while process.poll() is None:
        steps = sorted((partial / "steps").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        stage = f"after {steps[-1].stem}" if steps else "from the start"
        text = status.read_text() if status.exists() else ""
        if "RssAnon:" in text:
            peaks[stage] = max(peaks.get(stage, 0), int(text.partition("RssAnon:")[2].split()[0]) * 1024)
        if limit is not None and time.perf_counter() - start > limit:
            process.send_signal(signal.SIGKILL)
        time.sleep(INTERVAL)
    return peaks, time.perf_counter() - start


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True, help="where to write; kept")
    options.add_argument("--layers", type=int, default=24, help="of the model (default: InternLM2-1.8B's 24)")
    options.add_argument("--weights", default="int4", help="format (default: int4)")
    options.add_argument("--target", default="cpu,onnx", help="default: cpu,onnx")
    options.add_argument("--stop-after", type=float, help="kill the compilation after so many seconds")
    options = options.parse_args()

    config = ModelConfig.model_validate(SIZE | {"num_hidden_layers": options.layers})
    checkpoint, out = options.folder / "checkpoint", options.folder / "package"
    parameters = sum(math.prod(shape) for shape in layout_shapes(config, "llama").values())
    if not checkpoint.exists():
        start = time.perf_counter()
        write_checkpoint(checkpoint, config, RandomTensors(config), layout="internlm2", dtype=torch.bfloat16)
        print(f"checkpoint written in {time.perf_counter() - start:.0f} s", flush=True)
    size = sum(path.stat().st_size for path in checkpoint.iterdir())
    print(f"{parameters / 1e9:.2f} billion parameters, {size / 1e9:.2f} GB in bfloat16", flush=True)

    command = ["-c", "from castline.cli.main import main; main()", "compile", str(checkpoint), "--out", str(out)]
    formats = ["--weights", options.weights, "--target", options.target, "--json"]
    process = subprocess.Popen([sys.executable, *command, *formats], stdout=subprocess.PIPE, text=True)
    peaks, seconds = watch(process, out.with_name("package.partial"), options.stop_after)
    for stage, peak in peaks.items():
        print(f"  {peak / 1e9:5.2f} GB anonymous at most {stage}")
    print(f"peak {max(peaks.values()) / 1e9:.2f} GB, {seconds:.0f} s, exit code {process.returncode}")
    text = process.stdout.read() if process.stdout else ""
    if process.returncode == 0:
        result = json.loads(text)
        for name, proof in result["verification"]["backends"].items():
            found = proof["run"] or proof["graph"]
            print(f"{name}: {proof['status']}, {result['bytes'][name] / 1e9:.2f} GB, KL {found['mean_kl']:.2g}")
    else:
        sys.exit(1)


if __name__ == "__main__":
    main()
