"""Builds in processes that die by SIGKILL at random moments: what was finished stays, and the bytes are the same."""

import fcntl
import multiprocessing
import random
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from castline.compile.build import build_package
from castline.compile.config import Bounds, CompileConfig
from castline.compile.package import file_entries
from castline.errors import CompileError, RecipeError

from .conftest import random_llama, write_tokenizer

# Every write that reaches the disk is a point; the build is killed as it comes to the last of `points`.
_SCRIPT = """
import os, signal
from pathlib import Path
from castline.compile.build import build_package

passed = 0
def before(owner, name):
    original = getattr(owner, name)
    def wrapped(*args, **kwargs):
        global passed
        passed += 1
        if passed == points:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(owner, name, wrapped)

before(os, "fsync")
before(Path, "replace")
build_package(checkpoint, out, config, say=lambda line: print(line, file=open(log, "a")))
print(f"passed {passed}", file=open(log, "a"))
"""

# Children are forked from a server that has imported castline once and never started a thread.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["castline.compile.build"])


def run(checkpoint: Path, out: Path, config: CompileConfig, points: int) -> int | None:
    """Build in a process of its own that dies at the so-manieth point (0: never); its exit code."""
    names = {"checkpoint": checkpoint, "out": out, "config": config, "points": points, "log": str(out) + ".log"}
    process: BaseProcess = _CONTEXT.Process(target=exec, args=(_SCRIPT, names))
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tokenizer, so that int4 weights can be calibrated."""
    folder = tmp_path_factory.mktemp("resume") / "checkpoint"
    random_llama(folder, num_hidden_layers=3)
    write_tokenizer(folder)
    (folder.parent / "text.txt").write_text("The quick brown fox. " * 200)
    return folder


def int4(checkpoint: Path) -> CompileConfig:
    text = checkpoint.parent / "text.txt"
    options = {"calibration_text": text, "calibration_tokens": 1024, "verify_tokens": 128, "bounds": Bounds(int4=9)}
    return CompileConfig.model_validate({"weights": "int4", "targets": ("cpu", "onnx"), **options})


def finished(partial: Path) -> dict[str, int]:
    """When each finished step and each int4 matrix of a finished layer was written."""
    kept = {path.name: path.stat().st_mtime_ns for path in (partial / "steps").glob("*.json")}
    for state in (partial / "arrays").glob("fitted-*/activations.safetensors"):
        for layer in range(int(load_file(state)["layers"])):
            path = state.with_name(f"model.layers.{layer}.safetensors")
            kept[path.name] = path.stat().st_mtime_ns
    return kept


@pytest.mark.parametrize("seed", [1, 2])
def test_a_build_killed_at_random_moments_goes_on_to_the_same_bytes(
    text_model: Path, tmp_path: Path, seed: int
) -> None:
    config = int4(text_model)
    build_package(text_model, tmp_path / "whole", config)
    moments, kills, partial = random.Random(seed), 0, tmp_path / "package.partial"
    before: dict[str, int] = {}
    while (code := run(text_model, tmp_path / "package", config, moments.randint(2, 40))) != 0:
        assert code == -9
        kills += 1
        if (tmp_path / "package").exists():
            break  # killed as it swept up
        now = finished(partial)
        assert {name: now.get(name) for name in before} == before  # nothing finished was done again
        before = now
    assert kills > 1
    build_package(text_model, tmp_path / "package", config)  # the same command again has nothing left to do
    assert file_entries(tmp_path / "package") == file_entries(tmp_path / "whole")
    assert (tmp_path / "package/package.json").read_bytes() == (tmp_path / "whole/package.json").read_bytes()
    assert not partial.exists()
    assert "going on with the unfinished work in" in (tmp_path / "package.log").read_text()


def test_another_commands_work_is_not_mixed_in(text_model: Path, tmp_path: Path) -> None:
    config = int4(text_model)
    other = config.model_copy(update={"block": 64})
    assert run(text_model, tmp_path / "package", config, 20) == -9
    kept = finished(tmp_path / "package.partial")
    assert "model.layers.0.safetensors" in kept
    with pytest.raises(
        RecipeError, match=r"unfinished work of another command; these differ: block \(was 32, now 64\)"
    ):
        build_package(text_model, tmp_path / "package", other)
    assert finished(tmp_path / "package.partial") == kept
    build_package(text_model, tmp_path / "package", other, force=True)
    build_package(text_model, tmp_path / "fresh", other)
    assert file_entries(tmp_path / "package") == file_entries(tmp_path / "fresh")


def test_two_builds_of_one_package_at_once_are_refused(text_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package.partial"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CompileError, match="another castline is building"):
            build_package(text_model, tmp_path / "package", int4(text_model))
