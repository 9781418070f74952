"""Flask-Limiter with guarded storages: a circuit breaker for Redis, a lock for counts in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from flask import Flask, g
from flask_limiter import Limiter
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage

from app.limits import probe_of
from app.redis_link import MAX_WAIT, Circuit, CircuitOpen
from app.settings import Settings

__all__ = ["GuardedLimiter"]

R = TypeVar("R")

# Seconds by which the clock must have been set; less is its usual correction.
MIN_SHIFT = 1.0


class GuardedLimiter(Limiter):
    """Flask-Limiter that never waits long for Redis, and counts exactly in memory.

    While the circuit is open, Flask-Limiter falls back to counts in memory.
    """

    settings: Settings
    circuit: Circuit | None = None

    def init_app(self, app: Flask) -> None:
        """Create the storages of an application; connects to nothing."""
        super().init_app(app)
        self._end_fallback()
        self.circuit = (
            _guard_redis(self.storage, self._end_fallback) if isinstance(self.storage, RedisStorage) else None
        )
        for storage in (self.storage, self._fallback_storage):
            if isinstance(storage, MemoryStorage):
                _wrap_operations(storage, _MemoryGuard(storage).call)

    def _end_fallback(self) -> None:
        self._storage_dead = False  # Flask-Limiter itself checks only every half minute

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        try:
            super()._check_request_limit(callable_name, in_middleware)
        except CircuitOpen:  # another request has opened the circuit meanwhile: count this one in memory
            super()._check_request_limit(callable_name, in_middleware)


class _MemoryGuard:
    """Exact counts of concurrent requests, and windows that do not last longer when the clock is set back."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._lock = threading.RLock()
        self._storage = storage
        self._clock_lead = _clock_lead()

    def call(self, operation: Callable[..., R], *args: Any, **options: Any) -> R:
        """Return the result of an operation of the storage."""
        with self._lock:
            self._follow_clock()
            return operation(*args, **options)

    def _follow_clock(self) -> None:
        """Move the ends of all windows with a clock that was set back; one set forward ends them early."""
        shift = _clock_lead() - self._clock_lead
        if abs(shift) < MIN_SHIFT:
            return
        self._clock_lead += shift
        if shift < 0:  # after a suspension of the machine, which is none of monotonic time, it is above 0
            ends = list(self._storage.expirations.items())
            self._storage.expirations = {key: end + shift for key, end in ends}


def _clock_lead() -> float:
    """Return the seconds between the clock, by which the library `limits` ends windows, and monotonic time."""
    return time.time() - time.monotonic()


def _guard_redis(storage: RedisStorage, on_recovery: Callable[[], None]) -> Circuit:
    circuit = Circuit("limits", storage.get_connection(), probe_of(storage), StorageError, on_recovery)
    _wrap_operations(storage, partial(_within_max_wait, circuit))
    vars(storage)["check"] = circuit.up
    return circuit


def _wrap_operations(storage: Storage, call: Callable[..., Any]) -> None:
    """Route the operations that requests use through `call`."""
    for name in ("incr", "get", "get_expiry"):
        vars(storage)[name] = partial(call, getattr(storage, name))


def _within_max_wait(circuit: Circuit, operation: Callable[..., R], *args: Any, **options: Any) -> R:
    """Call Redis; all operations of one request together wait for MAX_WAIT at most."""
    started, waited = time.monotonic(), g.get("redis_seconds", 0.0)
    try:
        return circuit.call(partial(operation, *args, **options), MAX_WAIT - waited)
    finally:
        g.redis_seconds = waited + time.monotonic() - started
