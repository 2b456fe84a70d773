"""Resume: a run killed anywhere and started again gives the files of one never killed, byte for byte."""

import errno
import os
import random
import signal
import time
from pathlib import Path

import pytest

from castline.errors import DataError, DeviceError
from castline.model.train import train

from .conftest import run_config
from .killable import finish, log_path, start

# What must be the same; run.json and timing.jsonl tell of the process, the others of what was computed.
COMPARED = ["metrics.jsonl", "summary.json", "loss.svg", "checkpoint/model.safetensors", "checkpoint/castline.json"]
LAST = "checkpoints/step-00000012"


@pytest.fixture(scope="module")
def uninterrupted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    finish(run_config(corpus), out)
    return out


def assert_same(found: Path, expected: Path) -> None:
    optimizer = f"{LAST}/trainer_state/optimizer.safetensors"
    for name in [*COMPARED, optimizer]:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    names = [sorted(path.relative_to(run).as_posix() for path in run.rglob("*")) for run in (found, expected)]
    assert names[0] == names[1]


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again_it_ends_the_same(corpus: Path, uninterrupted: Path, tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    total = int(log_path(uninterrupted).read_text().split()[-1])
    out = tmp_path / "run"
    kills = 0
    while True:
        process = start(run_config(corpus), out, points=generator.randint(1, total // 2))
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 1
    assert_same(out, uninterrupted)


def test_killed_by_the_clock_it_ends_the_same(corpus: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(run_config(corpus), out)
    metrics = out / "metrics.jsonl"
    while process.is_alive() and not (metrics.is_file() and metrics.read_bytes().count(b"\n") > 7):
        time.sleep(0.0005)
    process.kill()
    process.join()
    finish(run_config(corpus), out)
    assert_same(out, uninterrupted)


@pytest.mark.parametrize("name", ["model.safetensors", "trainer_state/state.json"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_it_used(
    corpus: Path, uninterrupted: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    finish(run_config(corpus), out)
    (out / "summary.json").unlink()
    path = out / LAST / name
    content = path.read_bytes()
    # The step in state.json, the middle of the others.
    at = content.index(b"12") if name.endswith(".json") else len(content) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    said = finish(run_config(corpus), out)
    assert "not going on from step-00000012" in said
    assert "going on after step 8 of 12" in said
    assert_same(out, uninterrupted)


def test_ctrl_c_saves_the_step_and_says_how_to_go_on(corpus: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = run_config(corpus, checkpoint_every=1000)
    finish(config, out / "whole")
    process = start(config, out / "cut")
    metrics = out / "cut" / "metrics.jsonl"
    while process.is_alive() and not (metrics.is_file() and metrics.read_bytes().count(b"\n") > 3):
        time.sleep(0.0005)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join()
    said = log_path(out / "cut").read_text()
    assert "interrupted: step " in said
    assert "run the same command again to go on" in said
    assert len(list((out / "cut" / "checkpoints").iterdir())) == 1
    finish(config, out / "cut")
    for name in COMPARED[:-1]:
        assert (out / "cut" / name).read_bytes() == (out / "whole" / name).read_bytes(), name


def test_two_threads_repeat_each_other(corpus: Path, tmp_path: Path) -> None:
    config = run_config(corpus, threads=2, steps=2)
    for name in ("a", "b"):
        finish(config, tmp_path / name)
    for name in COMPARED:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_two_trainers_do_not_share_a_directory(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = run_config(corpus, steps=2000)
    process = start(config, out)
    while process.is_alive() and not (out / "metrics.jsonl").is_file():
        time.sleep(0.001)
    try:
        with pytest.raises(DataError, match="another castline is training"):
            train(config, out)
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("call", [2, 7, 13])
def test_a_full_disk_is_said_and_loses_nothing(
    corpus: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    out = tmp_path / "run"
    calls = 0
    sync = os.fsync

    def full_at_the_call(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_at_the_call)
        with pytest.raises(DeviceError, match="no space left on the disk"):
            train(run_config(corpus), out)
    assert not [path for path in out.rglob("*") if path.suffix in (".tmp", ".old")]
    train(run_config(corpus), out)
    assert_same(out, uninterrupted)


def test_a_run_without_its_metrics_starts_again(corpus: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    finish(run_config(corpus), out)
    (out / "summary.json").unlink()
    (out / "metrics.jsonl").unlink()
    said = finish(run_config(corpus), out)
    assert "not going on from step-00000012" in said
    assert "not going on from step-00000008" in said
    assert_same(out, uninterrupted)
