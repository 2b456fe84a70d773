"""The same tasks on a Ray cluster (`castline[ray]`): stages see no difference, and write the same bytes.

Tasks read the sources and write the corpus directory themselves, so every machine must have both at the same
paths, as on a shared file system. What a lost machine was doing is done again on another. A program that is connected
to a cluster stays so; else `RAY_ADDRESS` names one, and without it Ray starts one on this machine for the time of the
build.
"""

import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from castline import __version__
from castline.corpus.workers import R, T, Workers
from castline.errors import CastlineError, DeviceError

_AHEAD = 4  # tasks per processor that are handed to the cluster at a time
_CONNECT_SECONDS = 10.0
_OBJECTS = 128 * 1024 * 1024  # bytes for what tasks return, which is little


class RayWorkers(Workers):
    """Processors of a Ray cluster.

    An interrupted build ends what it has running; of a task that was cut off nothing half-written is left.
    """

    def __init__(self, count: int, folder: Path) -> None:
        """At most `count` tasks at a time (0: one per processor); `folder` is what all machines have to see."""
        cores = len(os.sched_getaffinity(0))
        super().__init__(cores)  # the threads of a stage that is one process
        self._limit = count
        self._folder = folder
        self._ray: Any = _import_ray()
        self._connected = self._ray.is_initialized()

    def __enter__(self) -> Self:
        """Connect to the cluster, or start one.

        Raises:
            DeviceError: there is no such cluster, or a machine in it cannot work for this build.
        """
        if not self._connected:
            self._connect()
        try:
            self._check_machines()
        except BaseException:
            self._disconnect()
            raise
        return self

    def _connect(self) -> None:
        ray = self._ray
        address = os.environ.get("RAY_ADDRESS")
        quiet = {"log_to_driver": False, "logging_level": "warning"}
        if address:
            check_reachable(address)
        try:
            if address:
                ray.init(**quiet)
            else:
                processors = self._limit or self.count
                ray.init("local", num_cpus=processors, include_dashboard=False, object_store_memory=_OBJECTS, **quiet)
        except Exception as error:
            # What Ray raises when a machine is too slow to start it, for one, is an Exception and nothing more.
            expected = (ray.exceptions.RayError, OSError, RuntimeError, ValueError)
            if type(error) is not Exception and not isinstance(error, expected):
                raise
            where = f"a Ray cluster at {address} (RAY_ADDRESS)" if address else "to start Ray on this machine"
            why = str(error).strip().partition("\n")[0]
            raise DeviceError(
                f"expected {where}, but: {why}; run again when the machine is less busy, or with --engine local"
            ) from error

    def _disconnect(self) -> None:
        if not self._connected:
            self._ray.shutdown()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()

    def start(self) -> None:
        """Nothing: Ray starts processes when there are tasks."""

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Run `function` on every task; yields (number of the task, result) as they are done, in any order.

        Raises:
            DeviceError: workers were killed again and again, most often for lack of memory.
        """
        remote = self._ray.remote(function)
        waiting = iter(enumerate(tasks))
        running: dict[Any, int] = {}
        at_once = self._limit or _AHEAD * int(self._ray.cluster_resources().get("CPU", 1))
        while True:
            for number, task in itertools.islice(waiting, at_once - len(running)):
                running[remote.remote(task)] = number
            if not running:
                return
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            yield running.pop(done), self._get(done)

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:  # raised by the task; its text has Ray's traceback in it
            if isinstance(error.cause, CastlineError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            raise DeviceError(
                "workers of the Ray cluster were killed again and again, most often for lack of memory; run again "
                f"with fewer --workers (finished work is kept): {str(error).splitlines()[0]}"
            ) from None

    def _check_machines(self) -> None:
        ray = self._ray
        place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        look = ray.remote(_look)
        machines = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
        looks = {
            machine: look.options(num_cpus=0, scheduling_strategy=place(machine, soft=False)).remote(self._folder)
            for machine in machines
        }
        for machine, reference in looks.items():
            where = f"the machine {machines[machine]} of the Ray cluster"
            try:
                version, present = ray.get(reference)
            except ray.exceptions.RayError as error:
                raise DeviceError(
                    f"expected castline {__version__} on {where}, but it cannot be imported there: {error}"
                ) from error
            if version != __version__:
                raise DeviceError(f"expected castline {__version__} on {where}, but found {version}")
            if not present:
                raise DeviceError(
                    f"expected {self._folder} on {where}, but it is not there; all machines must see the corpus "
                    "directory and the sources at the same paths"
                )


def check_reachable(address: str) -> None:
    """Check that something listens at a `RAY_ADDRESS`, where that names a machine: Ray itself would try for minutes.

    Raises:
        DeviceError: nothing does.
    """
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not host or not port.isdigit():  # "auto", "local"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise DeviceError(
            f"expected a Ray cluster at {address} (RAY_ADDRESS), but nothing answers there: {error.strerror or error}; "
            "start one (`ray start --head`), correct the address, or unset it to start Ray on this machine"
        ) from None


def _look(folder: Path) -> tuple[str, bool]:
    return __version__, folder.is_dir()


def _import_ray() -> Any:
    # Ray sends statistics about its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise DeviceError(
            f"the engine ray needs a package that is missing ({error}): pip install 'castline[ray]'"
        ) from None
    return ray
