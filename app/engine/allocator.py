"""glibc's allocator, told to give memory back. Elsewhere these functions do nothing."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back_freed_memory", "keep_heap_small"]

# mallopt(3)
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1


def keep_heap_small(own_pages: int, kept: int = 1 << 17) -> None:
    """Bound the heaps of a process with many threads, and keep large blocks such as bodies and images out of them.

    Blocks of at least `own_pages` bytes get pages of their own, which go back to the system when they are freed. By
    default each thread may get a heap of its own that keeps what was ever needed, and a freed large block makes the
    next ones of its size part of a heap. `kept` free bytes may stay at the heap's end for the next block.
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, own_pages)
        mallopt(M_TRIM_THRESHOLD, kept)


def give_back_freed_memory() -> None:
    """Return freed heap pages to the system."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
