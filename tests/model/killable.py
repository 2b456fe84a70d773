"""Training runs in processes of their own that die by SIGKILL at a chosen point."""

import multiprocessing
from multiprocessing.process import BaseProcess
from pathlib import Path

from castline.model.config import RunConfig

# Every write that reaches the disk and every line of metrics is a point; the trainer is killed as it comes to the
# last of `points`, so kills fall between steps, within a checkpoint's files, and before and after its renames.
_SCRIPT = """
import os, signal
from pathlib import Path
from castline.model import run
from castline.model.train import train

passed = 0
def point():
    global passed
    passed += 1
    if passed == points:
        os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name):
    original = getattr(owner, name)
    def wrapped(*args, **kwargs):
        point()
        return original(*args, **kwargs)
    setattr(owner, name, wrapped)

before(os, "fsync")
before(Path, "replace")
before(run.MetricsFile, "write")
try:
    train(config, out, say=lambda line: print(line, file=open(log, "a")))
    print(f"passed {passed}", file=open(log, "a"))
except KeyboardInterrupt as interrupt:
    print(f"interrupted: {interrupt}", file=open(log, "a"))
"""

# Children are forked from a server that has imported the trainer once and never started a thread.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["castline.model.train", "pyarrow.dataset", "pytest", "torch._dynamo"])


def start(config: RunConfig, out: Path, points: int = 0) -> BaseProcess:
    """Start training; with `points`, it dies at the so-manieth one. Messages go to `OUT.log`."""
    names = {"config": config, "out": out, "points": points, "log": str(log_path(out))}
    process = _CONTEXT.Process(target=exec, args=(_SCRIPT, names))
    process.start()
    return process


def finish(config: RunConfig, out: Path) -> str:
    """Train to the end; what the run said."""
    process = start(config, out)
    process.join()
    assert process.exitcode == 0
    return log_path(out).read_text()


def log_path(out: Path) -> Path:
    return out.with_suffix(".log")
