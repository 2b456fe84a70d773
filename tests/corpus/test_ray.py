"""The engine ray: the bytes of the local pool, its errors, and work that is done again when a worker is lost.

All but one need the extra `castline[ray]`.
"""

import gc
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from castline.corpus.build import CorpusSummary, build_corpus
from castline.corpus.config import CorpusConfig
from castline.corpus.ray_workers import RayWorkers, check_reachable
from castline.errors import DataError, DeviceError

from .test_build import contents

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")  # Ray's own


@pytest.fixture(scope="module", autouse=True)
def _no_warnings_later() -> Iterator[None]:
    """Ray does not wait for the processes it ends; what remembers them is collected here."""
    yield
    if "ray" not in sys.modules:
        return
    sys.modules["ray"].shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def square(number: int) -> int:
    if number == 3:
        raise DataError("expected no 3,\nbut found one")
    return number**2


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayWorkers]:
    pytest.importorskip("ray", reason="needs pip install 'castline[ray]'")
    with RayWorkers(2, tmp_path_factory.mktemp("corpus")) as workers:
        yield workers


def test_every_task_once(workers: RayWorkers) -> None:
    tasks = [number for number in range(50) if number != 3]
    assert sorted(workers.run(square, tasks)) == [(at, number**2) for at, number in enumerate(tasks)]
    assert list(workers.run(square, [])) == []


def test_an_error_of_a_task_is_that_error(workers: RayWorkers) -> None:
    with pytest.raises(DataError) as caught:
        list(workers.run(square, [1, 2, 3, 4]))
    assert str(caught.value) == "expected no 3,\nbut found one"
    assert sorted(workers.run(square, [1, 2])) == [(0, 1), (1, 4)], "the cluster goes on"


def test_the_work_of_a_killed_worker_is_done_again(workers: RayWorkers, tmp_path: Path) -> None:
    assert sorted(workers.run(die_once, [tmp_path / "a", tmp_path / "b"])) == [(0, "done"), (1, "done")]


def test_the_bytes_are_those_of_the_local_pool(
    workers: RayWorkers,
    built: CorpusSummary,
    data: Path,
    config: CorpusConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("castline.corpus.sources.TASK_BYTES", 100_000)
    local = build_corpus(config, tmp_path / "local", base=data, workers=2)
    summary = build_corpus(config, tmp_path / "ray", base=data, workers=2, engine="ray")
    assert contents(summary.out) == contents(local.out)
    assert summary.manifest["totals"] == built.manifest["totals"]


def test_who_is_connected_stays_so(workers: RayWorkers, tmp_path: Path) -> None:
    with RayWorkers(1, tmp_path) as others:
        assert list(others.run(square, [5])) == [(0, 25)]
    assert list(workers.run(square, [6])) == [(0, 36)]


def test_all_machines_must_see_the_corpus(workers: RayWorkers, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"all machines must see the corpus"), RayWorkers(1, tmp_path / "elsewhere"):
        pass


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"pip install 'castline\[ray\]'"):
        RayWorkers(1, tmp_path)


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://localhost:{port}"])
def test_an_address_where_nothing_listens(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = address.format(port=server.getsockname()[1])
        check_reachable(address)
    with pytest.raises(DeviceError, match=r"nothing answers there: Connection refused; start one"):
        check_reachable(address)


def test_addresses_that_name_no_machine() -> None:
    for address in ("auto", "local", ""):
        check_reachable(address)


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="needs pip install 'castline[ray]'")
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(DeviceError, match=r"a Ray cluster at 127.0.0.1:9"), RayWorkers(1, tmp_path):
        pass
