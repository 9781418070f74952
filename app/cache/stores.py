"""Where results are kept: in the memory of one web worker, or in Redis for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from cachetools import TTLCache

from app.removal import RemovalResult

__all__ = ["ENTRY_BYTES", "MemoryStore", "Store", "StoreDown"]

# What an entry takes beyond its picture, rounded up: 0.9 kB were measured here and 0.8 kB in Redis.
ENTRY_BYTES = 1024


class StoreDown(Exception):
    """The store cannot be reached now."""


class Store(Protocol):
    """A place for results that forgets the oldest and, when it is full, those not asked for longest."""

    def get(self, key: str) -> RemovalResult | None:
        """Return what is kept under a key; raise StoreDown."""

    def put(self, key: str, result: RemovalResult) -> None:
        """Keep a result; raise StoreDown."""

    def up(self) -> bool | None:
        """Tell whether the store can be reached; None where it always can."""

    def stop(self) -> None:
        """Look after the store no more."""


class MemoryStore:
    """Results in the memory of this web worker: at most `most_bytes`, each for `ttl` seconds."""

    def __init__(self, most_bytes: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TTLCache[str, RemovalResult] = TTLCache(most_bytes, ttl, clock, _size)
        self._lock = threading.Lock()

    def get(self, key: str) -> RemovalResult | None:
        """Return what is kept under a key."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: str, result: RemovalResult) -> None:
        """Keep a result; one that is larger than everything may be is let go."""
        if _size(result) <= self._entries.maxsize:
            with self._lock:
                self._entries[key] = result

    def up(self) -> None:
        """Say that memory is always there."""

    def stop(self) -> None:
        """Do nothing: it ends with the worker."""


def _size(result: RemovalResult) -> int:
    return len(result.body) + ENTRY_BYTES
