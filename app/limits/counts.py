"""Count per client and endpoint in windows of an hour or a minute, each starting with its first request. No Flask.

The counting is done by the library `limits`, in its memory storage or its Redis storage. Flask-Limiter, which wraps it,
counts after the answer where it is to count only some answers, so that parallel requests all pass, and cannot give a
count back.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

__all__ = [
    "HOUR",
    "MINUTE",
    "NAMESPACE",
    "Count",
    "LocalCounts",
    "StorageDown",
    "Window",
    "charge",
    "enter",
    "give_back",
]

Window = type[RateLimitItem]
HOUR: Window = RateLimitItemPerHour
MINUTE: Window = RateLimitItemPerMinute
NAMESPACE = "rates"
# Seconds before the end of its window in which a count is not given back: it might fall into the next window.
MARGIN = 1.0


class StorageDown(Exception):
    """The counts that are shared cannot be reached now."""


@dataclass(frozen=True, slots=True)
class Count:
    """How a request was counted; `names` are client and endpoint, `reset` is the window's end in Unix seconds.

    What is counted are requests, or megapixels: one when the request enters, the others when they are known.
    """

    item: RateLimitItem
    names: tuple[str, str]
    admitted: bool
    remaining: int
    reset: int
    shared: bool = False

    @property
    def limit(self) -> int:
        """Return how many are let in while a window lasts."""
        return self.item.amount

    @property
    def seconds_left(self) -> int:
        """Return the whole seconds to the window's end, at least 1."""
        return min(max(1, math.ceil(self.reset - time.time())), self.item.get_expiry())


def enter(
    limiter: FixedWindowRateLimiter, limit: int, names: tuple[str, str], window: Window = HOUR, *, shared: bool = False
) -> Count:
    """Count a request as one, unless its client has used up its limit."""
    item = window(limit, 1, NAMESPACE)
    admitted = limiter.test(item, *names)
    if admitted and not limiter.hit(item, *names):
        # Parallel requests had passed the test together, and the library counts also those it refuses.
        limiter.storage.incr(item.key_for(*names), item.get_expiry(), -1)
        admitted = False
    return _as_it_stands(limiter, Count(item, names, admitted, 0, 0, shared))


def charge(limiter: FixedWindowRateLimiter, count: Count, more: int) -> Count:
    """Count `more` for a request that was let in: past the limit if need be, and in the window that is open now."""
    if more:
        limiter.storage.incr(count.item.key_for(*count.names), count.item.get_expiry(), more)
    return _as_it_stands(limiter, count)


def give_back(limiter: FixedWindowRateLimiter, count: Count) -> None:
    """Take back what a request counted, as long as its window lasts."""
    key = count.item.key_for(*count.names)
    # A counter that has gone must not start anew below zero.
    if time.time() < count.reset - MARGIN and limiter.storage.get(key) > 0:
        limiter.storage.incr(key, count.item.get_expiry(), -1)


def _as_it_stands(limiter: FixedWindowRateLimiter, count: Count) -> Count:
    stats = limiter.get_window_stats(count.item, *count.names)
    return replace(count, remaining=stats.remaining, reset=math.ceil(stats.reset_time))


class LocalCounts:
    """Counts in the memory of this web worker, which gets its part of every limit."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        # The storage adds under a lock but reads outside of it: two that arrive together would both see the later sum.
        self._lock = threading.Lock()

    def enter(self, limit: int, names: tuple[str, str], window: Window = HOUR) -> Count:
        """Count a request, unless its client has used up this worker's part of its limit."""
        with self._lock:
            return enter(self._limiter, max(1, limit // self._workers), names, window)

    def charge(self, count: Count, more: int) -> Count:
        """Count more for a request that was let in."""
        with self._lock:
            return charge(self._limiter, count, more)

    def give_back(self, count: Count) -> None:
        """Take back what a request counted."""
        with self._lock:
            give_back(self._limiter, count)
