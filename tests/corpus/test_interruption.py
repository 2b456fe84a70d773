"""Builds that are killed, interrupted, or run out of disk: what is left resumes to the same bytes."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.workspace import Workspace
from castline.errors import DataError

from .test_build import contents

PROGRAM = """
import json, sys
from pathlib import Path
from castline.corpus import sources
from castline.corpus.build import build_corpus
from castline.corpus.config import CorpusConfig
from castline.errors import CastlineError

if __name__ == "__main__":
    recipe, out, base, task_bytes = sys.argv[1:]
    sources.TASK_BYTES = int(task_bytes)
    config = CorpusConfig.model_validate(json.loads(Path(recipe).read_text()))
    try:
        build_corpus(config, Path(out), base=Path(base), workers=2)
    except CastlineError as error:
        sys.exit(f"{error.exit_code}: {error}")
    except KeyboardInterrupt:
        sys.exit("130: interrupted")
"""


TASK_BYTES = 100_000
Resume = Callable[[Path], CorpusSummary]


@pytest.fixture(scope="module")
def resume(data: Path, config: CorpusConfig) -> Resume:
    """Build in this process what `PROGRAM` builds in its own."""

    def run(out: Path) -> CorpusSummary:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("castline.corpus.sources.TASK_BYTES", TASK_BYTES)
            return build_corpus(config, out, base=data)

    return run


@pytest.fixture(scope="module")
def whole(resume: Resume, tmp_path_factory: pytest.TempPathFactory) -> CorpusSummary:
    """A corpus that was never interrupted."""
    return resume(tmp_path_factory.mktemp("whole") / "out")


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(data: Path, config: CorpusConfig, tmp_path: Path) -> Start:
    (tmp_path / "build.py").write_text(PROGRAM)
    (tmp_path / "recipe.json").write_text(json.dumps(config.model_dump(mode="json")))

    def run(out: Path, prefix: str = "exec") -> subprocess.Popen[str]:
        command = f"{prefix} {sys.executable} build.py recipe.json {out} {data} {TASK_BYTES}"
        return subprocess.Popen(
            ["bash", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return run


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def steps(out: Path) -> int:
    """Those that stay done: the parts of a task are forgotten when it is."""
    walk = os.walk(out / ".castline")
    return sum(name.endswith(".json") for folder, _, names in walk if "/parts" not in folder for name in names)


def wait_until_gone(group: int) -> None:
    """Wait until no process of a group is left; without workers that end by themselves this never returns."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            time.sleep(0.01)


def test_killed_at_random_moments(start: Start, resume: Resume, whole: CorpusSummary, tmp_path: Path) -> None:
    out = tmp_path / "out"
    moments = random.Random(7)
    total = steps(whole.out)
    killed = []
    for _ in range(2):
        process = start(out)
        before = steps(out)
        goal = before + moments.randrange(1, max(2, (total - before) // 2))
        wait_for(lambda goal=goal: steps(out) >= goal, process)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        killed.append(steps(out))
        assert not (out / "manifest.json").exists()
        # the workers notice that their parent is gone: no orphan goes on writing
        wait_until_gone(process.pid)
    assert killed == sorted(killed)
    assert resume(out).resumed["read"] >= 1
    assert contents(out) == contents(whole.out)


def test_ctrl_c_leaves_what_was_finished(start: Start, resume: Resume, whole: CorpusSummary, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out)
    wait_for(lambda: steps(out) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    error = process.communicate(timeout=300)[1]
    assert (process.returncode, error) == (1, "130: interrupted\n"), "no traceback, of a worker neither"
    wait_until_gone(process.pid)
    assert not (out / "manifest.json").exists()
    assert resume(out).resumed["read"] >= 1
    assert contents(out) == contents(whole.out)


def test_a_full_disk(start: Start, resume: Resume, whole: CorpusSummary, tmp_path: Path) -> None:
    out = tmp_path / "out"
    largest = max(path.stat().st_size for path in (whole.out / "documents").iterdir())
    limit = largest // 2 // 1024
    process = start(out, prefix=f"ulimit -f {limit}; exec")
    error = process.communicate(timeout=300)[1]
    assert error.startswith(f"4: no space left on the disk while writing {out}"), error
    assert len(error.splitlines()) == 1
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob("*.tmp"))
    resume(out)
    assert contents(out) == contents(whole.out)


def test_a_killed_worker_is_said(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out)
    wait_for(lambda: steps(out) >= 1, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    error = process.communicate(timeout=300)[1]
    assert error.startswith("4: a worker process was killed"), error


def test_two_builds_do_not_write_to_one_folder(data: Path, config: CorpusConfig, tmp_path: Path) -> None:
    with Workspace(tmp_path).locked(), pytest.raises(DataError, match="another castline is building"):
        build_corpus(config, tmp_path, base=data)


def test_a_marker_that_a_power_cut_emptied(resume: Resume, whole: CorpusSummary, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole.out, out)
    (out / "manifest.json").unlink()
    markers = sorted((out / ".castline" / "read").iterdir())
    markers[0].write_bytes(b"")
    assert resume(out).resumed["read"] == len(markers) - 1
    assert contents(out) == contents(whole.out)
