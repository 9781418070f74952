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
        lock = threading.RLock()
        for storage in (self.storage, self._fallback_storage):
            if isinstance(storage, MemoryStorage):  # it loses counts of concurrent requests
                _wrap_operations(storage, partial(_locked, lock))

    def _end_fallback(self) -> None:
        self._storage_dead = False  # Flask-Limiter itself checks only every half minute

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        try:
            super()._check_request_limit(callable_name, in_middleware)
        except CircuitOpen:  # another request has opened the circuit meanwhile: count this one in memory
            super()._check_request_limit(callable_name, in_middleware)


def _guard_redis(storage: RedisStorage, on_recovery: Callable[[], None]) -> Circuit:
    circuit = Circuit("limits", storage.get_connection(), probe_of(storage), StorageError, on_recovery)
    _wrap_operations(storage, partial(_within_max_wait, circuit))
    vars(storage)["check"] = circuit.up
    return circuit


def _wrap_operations(storage: Storage, call: Callable[..., Any]) -> None:
    """Route the operations that requests use through `call`."""
    for name in ("incr", "get", "get_expiry"):
        vars(storage)[name] = partial(call, getattr(storage, name))


def _locked(lock: threading.RLock, operation: Callable[..., R], *args: Any, **options: Any) -> R:
    with lock:
        return operation(*args, **options)


def _within_max_wait(circuit: Circuit, operation: Callable[..., R], *args: Any, **options: Any) -> R:
    """Call Redis; all operations of one request together wait for MAX_WAIT at most."""
    started, waited = time.monotonic(), g.get("redis_seconds", 0.0)
    try:
        return circuit.call(partial(operation, *args, **options), MAX_WAIT - waited)
    finally:
        g.redis_seconds = waited + time.monotonic() - started
