"""Count requests per client and endpoint in windows of an hour, each of which starts with its first request. No Flask.

The counting is done by the library `limits`, in its memory storage or its Redis storage. Flask-Limiter, which wraps it,
counts after the answer where it is to count only some answers, so that parallel requests all pass, and cannot give a
count back.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerHour
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

__all__ = ["NAMESPACE", "Count", "LocalCounts", "StorageDown", "enter", "give_back"]

NAMESPACE = "hourly"
# Seconds before the end of its window in which a count is not given back: it might fall into the next window.
MARGIN = 1.0


class StorageDown(Exception):
    """The counts that are shared cannot be reached now."""


@dataclass(frozen=True, slots=True)
class Count:
    """How a request was counted; `names` are client and endpoint, `reset` is the window's end in Unix seconds."""

    item: RateLimitItem
    names: tuple[str, str]
    admitted: bool
    remaining: int
    reset: int
    shared: bool = False

    @property
    def limit(self) -> int:
        """Return how many requests an hour are let in."""
        return self.item.amount

    @property
    def seconds_left(self) -> int:
        """Return the whole seconds to the window's end, 1 to 3600."""
        return min(max(1, math.ceil(self.reset - time.time())), self.item.get_expiry())


def enter(limiter: FixedWindowRateLimiter, limit: int, names: tuple[str, str], *, shared: bool = False) -> Count:
    """Count a request, unless its client has used up its limit."""
    item = RateLimitItemPerHour(limit, 1, NAMESPACE)
    admitted = limiter.test(item, *names)
    if admitted and not limiter.hit(item, *names):
        # Parallel requests had passed the test together, and the library counts also those it refuses.
        limiter.storage.incr(item.key_for(*names), item.get_expiry(), -1)
        admitted = False
    window = limiter.get_window_stats(item, *names)
    return Count(item, names, admitted, window.remaining, math.ceil(window.reset_time), shared)


def give_back(limiter: FixedWindowRateLimiter, count: Count) -> None:
    """Take back what a request counted, as long as its window lasts."""
    key = count.item.key_for(*count.names)
    # A counter that has gone must not start anew below zero.
    if time.time() < count.reset - MARGIN and limiter.storage.get(key) > 0:
        limiter.storage.incr(key, count.item.get_expiry(), -1)


class LocalCounts:
    """Counts in the memory of this web worker, which gets its part of every limit."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        # The storage adds under a lock but reads outside of it: two that arrive together would both see the later sum.
        self._lock = threading.Lock()

    def enter(self, limit: int, names: tuple[str, str]) -> Count:
        """Count a request, unless its client has used up this worker's part of its limit."""
        with self._lock:
            return enter(self._limiter, max(1, limit // self._workers), names)

    def give_back(self, count: Count) -> None:
        """Take back what a request counted."""
        with self._lock:
            give_back(self._limiter, count)
