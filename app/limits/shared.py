"""Counts in Redis, which all workers and machines share, and what to do while it is away.

A request never waits for Redis longer than PATIENCE. The first that gets no answer opens the circuit: from then on
nobody asks, until a thread that tries every few seconds finds Redis well again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.limits.counts import HOUR, NAMESPACE, Count, StorageDown, Window, charge, enter, give_back
from app.settings import SettingsError

__all__ = ["SharedCounts"]

log = logging.getLogger(__name__)
T = TypeVar("T")

# Most seconds that a request waits in all: counting takes several questions, and looking up a host's name, which no
# socket timeout bounds, can take many seconds.
PATIENCE = 0.5
# Seconds for one question to Redis.
SOCKET_SECONDS = 0.25
# Seconds between two looks at Redis.
PROBE_SECONDS = 2.0
# Requests that ask Redis at the same time, per web worker; each takes well under a millisecond.
MOST_QUESTIONS = 16
PREFIX = "background-remover"
PROBE_KEY = "probe"
PROBE_LIFE = 60
# StorageError: Redis says no or nothing. OSError: it took longer than PATIENCE. ValueError: its name cannot be one.
# RuntimeError: the interpreter is ending and starts no threads.
FAILURES = (StorageError, OSError, ValueError, RuntimeError)


class SharedCounts:
    """Counts in Redis; connects with the first question, never before."""

    def __init__(self, url: str) -> None:
        """Raise SettingsError for what is not the address of a Redis."""
        self._storage = _storage(url)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._questions = ThreadPoolExecutor(MOST_QUESTIONS, "limits")
        self._lock = threading.Lock()
        self._up: bool | None = None
        self._watcher: threading.Thread | None = None
        self._known, self._stopped = threading.Event(), threading.Event()

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
        self._watch()
        self._known.wait(PATIENCE)
        return self._up is True

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
        self._stopped.set()
        self._questions.shutdown(wait=False)

    def _ask(self, question: Callable[[], T]) -> T:
        self._watch()
        if self._up is False:
            raise StorageDown
        try:
            answer = self._questions.submit(question)
            try:
                return answer.result(PATIENCE)
            finally:
                answer.cancel()  # one that has waited in line in vain must not be counted later
        except FAILURES as error:
            self._now(up=False, reason=error)
            raise StorageDown from error

    def _watch(self) -> None:
        """Start looking at Redis; not earlier than needed, so that no thread crosses gunicorn's fork."""
        if self._watcher is None:
            with self._lock:
                if self._watcher is None:
                    self._watcher = threading.Thread(target=self._look, name="limits-watch", daemon=True)
                    self._watcher.start()

    def _look(self) -> None:
        while not self._stopped.is_set():
            try:
                # A write, as counting is: a Redis that is full or a replica answers a ping.
                self._storage.incr(PROBE_KEY, PROBE_LIFE)
                self._now(up=True)
            except FAILURES as error:
                self._now(up=False, reason=error)
            self._stopped.wait(PROBE_SECONDS)

    def _now(self, *, up: bool, reason: Exception | None = None) -> None:
        with self._lock:
            before, self._up = self._up, up
        self._known.set()
        if up is before:
            return
        if up:
            log.info("limits.storage_up")
            return
        log.warning("limits.storage_down error=%s reason=%r", type(reason).__name__, str(reason))
        # Idle connections may be as dead as the one that failed, and would each cost a timeout.
        _client(self._storage).connection_pool.disconnect(inuse_connections=False)


def _storage(url: str) -> RedisStorage:
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": SOCKET_SECONDS,
        "retry": Retry(NoBackoff(), 0),  # the default: three times, with pauses
        "protocol": 2,  # fewer questions per connection than the default, and all that is needed
    }
    try:
        return RedisStorage(url, key_prefix=PREFIX, wrap_exceptions=True, **options)
    except (ValueError, KeyError):  # the texts of these may hold the password
        raise SettingsError(
            "Bad settings:\n  REDIS_URL=(secret): must be redis://…, rediss://… or redis+unix://…"
        ) from None


def _client(storage: RedisStorage) -> Any:
    return storage.get_connection()  # typed as a protocol that lacks most of it
