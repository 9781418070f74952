"""Quarantine of requests that have crashed engines, by their hashes, for a limited time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from cachetools import TTLCache

from app.removal import RemovalRequest

__all__ = ["Quarantine"]

STRIKES = 2
SECONDS = 600.0
# The least recently used entries are removed first.
MAX_ENTRIES = 1000


class Quarantine:
    """Count engine crashes per photo, background and options; refuse them after two, for ten minutes from the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._strikes: TTLCache[bytes, int] = TTLCache(MAX_ENTRIES, SECONDS, clock)

    def strike(self, request: RemovalRequest) -> None:
        """Record that an engine died of this request."""
        key = _digest(request)
        with self._lock:
            self._strikes[key] = self._strikes.get(key, 0) + 1

    def refuses(self, request: RemovalRequest) -> bool:
        """Return whether this request is refused; computes hashes only while there are entries."""
        with self._lock:
            if not self._strikes:
                return False
        key = _digest(request)
        with self._lock:
            return self._strikes.get(key, 0) >= STRIKES


def _digest(request: RemovalRequest) -> bytes:
    parts = (request.image, request.background_image, repr(request.all_options).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
