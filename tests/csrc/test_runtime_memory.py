"""Weights stay in the file: a process that runs a package holds no copy of them, and two share their pages."""

import subprocess
import sys
from pathlib import Path

import pytest
from package_writer import TINY, quantise, random_tensors, write_package

# 38 MB of weights in float32, 10 MB in int8: small to run, large beside everything else that a process needs.
CONFIG = TINY | {"vocab_size": 24_000, "hidden_size": 192, "intermediate_size": 384, "num_attention_heads": 12}

# Opens and runs a package, then says how many kB of its weights this process has in memory, of which kind, and how
# much its own memory grew; then waits until it is told to end.
RUN = """
import sys
from pathlib import Path
import numpy as np
from castline._C import Engine

def own_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

ids = np.random.default_rng(1).integers(0, 24_000, 200).tolist()
before = own_memory()
engine = Engine(sys.argv[1], threads=2)
engine.score(ids)
found, inside = {}, False
for line in Path("/proc/self/smaps").read_text().splitlines():
    key, *rest = line.split()
    if not key.endswith(":"):
        inside = line.endswith("weights.safetensors")
    elif inside:
        found[key] = found.get(key, 0) + (int(rest[0]) if rest[0].isdigit() else 0)
shared = found["Shared_Clean:"] + found["Shared_Dirty:"]
print(found["Rss:"], shared, found["Anonymous:"], own_memory() - before, flush=True)
sys.stdin.read()
"""


def start(package: Path) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(package)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is told by Linux's /proc/self/smaps")
@pytest.mark.parametrize("stored", ["f32", "int8"])
def test_weights_are_not_copied_and_processes_share_them(tmp_path: Path, stored: str) -> None:
    tensors = random_tensors(CONFIG)
    if stored == "int8":
        tensors, _ = quantise(tensors)
    package = write_package(tmp_path / "package", CONFIG, tensors)
    size = (package / "cpu/weights.safetensors").stat().st_size // 1024
    first, (resident, _, copied, own) = start(package)
    second, (_, shared, _, _) = start(package)
    for process in (first, second):
        process.communicate("")
        assert process.returncode == 0
    assert resident > 0.9 * size  # scoring reads every weight but some embeddings
    assert copied == 0
    # Its own: a cache of 200 positions, activations and logits of 32 tokens, whatever the weights' size.
    assert own < 4_000
    assert shared > 0.9 * size
