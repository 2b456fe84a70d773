"""A pool of local processes for tasks that write their own files and return a small result."""

import importlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, TypeVar

from castline.errors import DeviceError

T = TypeVar("T")
R = TypeVar("R")

STAGES = tuple(f"castline.corpus.{name}" for name in ("measure", "duplicates.index", "decide", "encode", "pack"))
_AHEAD = 2  # tasks per process that are handed out at a time


class Workers:
    """Processes that are started when first needed and serve every stage of a build.

    Leaving the `with` block on an error or Ctrl-C ends them at once; nothing half-written is left, because
    tasks write their files atomically.
    """

    def __init__(self, count: int) -> None:
        """`count` processes at most; 1 runs everything in this one."""
        self.count = max(count, 1)
        self._executor: ProcessPoolExecutor | None = None
        self._processes: set[BaseProcess] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is None:
            return
        for process in self._processes:  # none has a task that matters: they need not take their leave
            process.terminate()
        self._executor.shutdown(cancel_futures=True)

    def start(self) -> None:
        """Start the processes now, so that they import what stages need while this one does something else."""
        if self.count > 1 and self._executor is None:
            for _ in range(self.count):
                self._submit(_import_all, STAGES)

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Run `function` on every task; yields (number of the task, result) as they are done, in any order.

        A single task runs right here. Otherwise `function` and the tasks are pickled into fresh processes, each task
        when its turn is near.

        Raises:
            DeviceError: a worker was killed, most often by the kernel for lack of memory.
        """
        if self.count == 1 or len(tasks) <= 1:
            for number, task in enumerate(tasks):
                yield number, function(task)
            return
        waiting = iter(enumerate(tasks))
        running: dict[Future[R], int] = {}
        try:
            while True:
                for number, task in itertools.islice(waiting, _AHEAD * self.count - len(running)):
                    running[self._submit(function, task)] = number
                if not running:
                    return
                for future in wait_for(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise DeviceError(
                "a worker process was killed, most often for lack of memory; run again with fewer --workers "
                "(finished work is kept)"
            ) from None

    def _submit(self, function: Callable[[T], R], task: T) -> Future[R]:
        if self._executor is not None and len(self._processes) == self.count:
            return self._executor.submit(function, task)
        others = set(multiprocessing.active_children())
        with _interrupts_held():  # this starts a process
            try:
                if self._executor is None:
                    context = multiprocessing.get_context("spawn")
                    self._executor = ProcessPoolExecutor(self.count, context, initializer=_end_with_parent)
                return self._executor.submit(function, task)
            finally:
                self._processes |= set(multiprocessing.active_children()) - others


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Inside, Ctrl-C waits for the end, and processes are born with it blocked.

    A terminal sends it to every process, and this one ends the others. Another thread may take the signal
    though this one blocks it, so Python's handler is held as well: a worker must get all it is born with.
    """
    # multiprocessing's resource tracker unblocks the signal when it starts, so that comes first.
    resource_tracker.ensure_running()
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
        if seen:
            signal.raise_signal(signal.SIGINT)


def _end_with_parent() -> None:
    """End this worker when its parent is gone (SIGKILL), so that no orphan goes on writing."""
    parent: Any = multiprocessing.parent_process()

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _import_all(modules: tuple[str, ...]) -> None:
    for module in modules:
        importlib.import_module(module)
