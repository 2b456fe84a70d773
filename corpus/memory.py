"""Memory that a finished stage has freed goes back to the system, so that stages do not add up."""

import ctypes

import pyarrow as pa


def release() -> None:
    """Return freed memory to the system, where its C library can (glibc's keeps what lies below anything in use)."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
