"""Settings of glibc's allocator, so that it returns memory to the system; no effect with other C libraries."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back_freed_memory", "keep_heap_small"]

# mallopt(3)
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1


def keep_heap_small(mmap_threshold: int, trim_threshold: int = 1 << 17) -> None:
    """Limit the number of heaps, and allocate large blocks such as bodies and images outside of them.

    Blocks of at least `mmap_threshold` bytes get separate pages, which return to the system when they are freed. By
    default each thread may get a separate heap that never shrinks, and a freed large block raises the threshold to its
    size. Up to `trim_threshold` free bytes stay at the end of the heap for the next blocks.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, mmap_threshold)
        mallopt(M_TRIM_THRESHOLD, trim_threshold)


def give_back_freed_memory() -> None:
    """Return freed heap pages to the system."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
