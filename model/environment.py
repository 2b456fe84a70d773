"""The process a run trains in: a fixed number of threads, deterministic kernels, and Ctrl-C between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch.utils import deterministic as fill


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """So many threads and deterministic kernels inside; as before outside."""
    filling: bool = fill.fill_uninitialized_memory  # type: ignore[attr-defined]
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    fill.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        fill.fill_uninitialized_memory = filling  # type: ignore[attr-defined]


@contextmanager
def interrupt_flag() -> Iterator[threading.Event]:
    """Ctrl-C sets the flag, so that a step is never cut in two; a second Ctrl-C stops at once."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.getsignal(signal.SIGINT)

    def remember(_signal: int, _frame: FrameType | None) -> None:
        flag.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
