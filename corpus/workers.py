"""A pool of local processes for tasks that write their own files and return a small result."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from castline.errors import DeviceError

T = TypeVar("T")
R = TypeVar("R")


def run_tasks(function: Callable[[T], R], tasks: Sequence[T], workers: int) -> Iterator[tuple[int, R]]:
    """Run `function` on every task; yields (number of the task, result) as they are done, in any order.

    With one worker or one task it runs right here. Otherwise `function` and the tasks are pickled into fresh
    processes. When the loop over the results is left early (an error, Ctrl-C), the workers are stopped.

    Raises:
        DeviceError: a worker was killed, most often by the kernel for lack of memory.
    """
    if workers == 1 or len(tasks) <= 1:
        for number, task in enumerate(tasks):
            yield number, function(task)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_end_with_parent)
    try:
        # A terminal sends Ctrl-C to every process: workers are born with it blocked, the parent ends them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {executor.submit(function, task): number for number, task in enumerate(tasks)}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise DeviceError(
            "a worker process was killed, most often for lack of memory; run again with fewer --workers "
            "(finished work is kept)"
        ) from None
    finally:
        if any(not future.done() for future in futures):
            for process in multiprocessing.active_children():
                process.terminate()
        executor.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this worker when its parent is gone (SIGKILL), so that no orphan goes on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # only ever called in a worker

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
