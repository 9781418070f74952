"""Counts in Redis, which all workers and machines share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from app.limits.counts import HOUR, NAMESPACE, Count, StorageDown, Window, charge, enter, give_back
from app.redis_link import CLIENT_OPTIONS, PROBE_LIFE, Circuit, CircuitOpen

__all__ = ["SharedCounts"]

log = logging.getLogger(__name__)
T = TypeVar("T")

PREFIX = "background-remover"
PROBE_KEY = "probe"


class SharedCounts:
    """Counts in Redis; connects with the first question, never before."""

    def __init__(self, url: str) -> None:
        """Take an address that the settings have checked."""
        self._storage = RedisStorage(url, key_prefix=PREFIX, wrap_exceptions=True, **CLIENT_OPTIONS)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._circuit = Circuit("limits", self._probe, StorageError, self._changed)

    def enter(self, limit: int, names: tuple[str, str], window: Window = HOUR) -> Count:
        """Count a request, unless its client has used up its limit; raise StorageDown."""
        return self._ask(lambda: enter(self._limiter, limit, names, window, shared=True))

    def charge(self, count: Count, more: int) -> Count:
        """Count more for a request that was let in; raise StorageDown."""
        return self._ask(lambda: charge(self._limiter, count, more))

    def give_back(self, count: Count) -> None:
        """Take back what a request counted; raise StorageDown."""
        self._ask(lambda: give_back(self._limiter, count))

    def up(self) -> bool:
        """Tell whether Redis answered when it was last asked, at most some seconds ago."""
        return self._circuit.up()

    def forget(self, client: str) -> int:
        """Delete all counts of a client and return how many there were; raise StorageDown."""
        redis = _client(self._storage)
        try:
            keys = list(redis.scan_iter(match=f"{PREFIX}:{NAMESPACE}/{client}/*", count=1000))
            return int(redis.delete(*keys)) if keys else 0
        except self._storage.base_exceptions as error:
            raise StorageDown(str(error)) from error

    def stop(self) -> None:
        """Look after Redis no more."""
        self._circuit.stop()

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return self._circuit.ask(question)
        except CircuitOpen as error:
            raise StorageDown from error

    def _probe(self) -> None:
        # A write, as counting is: a Redis that is full or a replica answers a ping.
        self._storage.incr(PROBE_KEY, PROBE_LIFE)

    def _changed(self, reason: Exception | None) -> None:
        if reason is None:
            log.info("limits.storage_up")
            return
        log.warning("limits.storage_down error=%s reason=%r", type(reason).__name__, str(reason))
        # Idle connections may be as dead as the one that failed, and would each cost a timeout.
        _client(self._storage).connection_pool.disconnect(inuse_connections=False)


def _client(storage: RedisStorage) -> Any:
    return storage.get_connection()  # typed as a protocol that lacks most of it
