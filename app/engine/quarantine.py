"""Quarantine of requests that have crashed engines, by their hashes, for a limited time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from app.removal import RemovalRequest

__all__ = ["Quarantine"]

STRIKES = 2
SECONDS = 600.0
# The oldest entries are removed first.
MAX_ENTRIES = 1000


class Quarantine:
    """Count engine crashes per photo, background and options; refuse them after two, for ten minutes from the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._strikes: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def strike(self, request: RemovalRequest) -> None:
        """Record that an engine died of this request."""
        key = _digest(request)
        with self._lock:
            self._forget_old()
            count, _ = self._strikes.pop(key, (0, 0.0))
            self._strikes[key] = (count + 1, self._clock())
            while len(self._strikes) > MAX_ENTRIES:
                self._strikes.popitem(last=False)

    def refuses(self, request: RemovalRequest) -> bool:
        """Return whether this request is refused; computes hashes only while there are entries."""
        with self._lock:
            self._forget_old()
            if not self._strikes:
                return False
        key = _digest(request)
        with self._lock:
            return self._strikes.get(key, (0, 0.0))[0] >= STRIKES

    def _forget_old(self) -> None:
        oldest = self._clock() - SECONDS
        while self._strikes and next(iter(self._strikes.values()))[1] < oldest:
            self._strikes.popitem(last=False)


def _digest(request: RemovalRequest) -> bytes:
    parts = (request.image, request.background_image, repr(request.all_options).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
