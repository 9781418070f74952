"""Cache of results in front of a submitter: concurrent requests for the same result share one computation."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

from app.cache.flights import Flight, Flights
from app.cache.keys import ResultKeys
from app.cache.stores import MemoryStore, Store
from app.capacity import Capacity, max_memory_mb
from app.engine.container import MEGABYTE, memory_limit
from app.engine.submission import Deadline, Submitter
from app.errors import DeadlineExceeded, ServiceError
from app.redis_link import CircuitOpen
from app.removal import RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = ["Lookup", "ResultCache", "open_cache"]

log = logging.getLogger(__name__)

# Maximum share of the cache for one result: a few huge ones would displace all others.
MAX_SHARE = 1 / 4


class Lookup(StrEnum):
    """Outcome of a look-up."""

    HIT = "hit"  # found in the store, or computed for a concurrent request
    MISS = "miss"
    ERROR = "error"  # the store was unavailable


class ResultCache:
    """Submitter in front of another: processes the same photo with the same options once while the result is cached.

    `max_bytes` is the maximum size of a cached image. `on_lookup` is called for every look-up.
    """

    def __init__(
        self,
        submitter: Submitter,
        store: Store,
        keys: ResultKeys,
        max_bytes: int,
        on_lookup: Callable[[Lookup], None],
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._keys = keys
        self._max_bytes = max_bytes
        self._on_lookup = on_lookup
        self._flights = Flights()

    def submit(self, request: RemovalRequest, deadline: Deadline) -> RemovalResult:
        """Return a request's result; its `cache` is "hit" or "miss". Raise the errors of the submitter behind."""
        started = time.monotonic()
        key = self._keys.of(request)
        if key is None:
            return self._submitter.submit(request, deadline)
        while True:
            flight, leads = self._flights.join(key)
            if leads:
                return self._lead(flight, key, request, deadline)
            deadline.wait(
                flight.ended.wait, late="The deadline passed while another request for the same image was processed."
            )
            if flight.result is not None or flight.error is not None:
                self._on_lookup(Lookup.HIT)
                return _shared(flight, started)
            waited = time.monotonic() - started
            if flight.late and deadline.seconds_left < waited:  # another attempt would be late, too
                raise DeadlineExceeded(details="An earlier request for the same image was not finished in time.")

    def up(self) -> bool | None:
        """Return whether Redis can be reached; None where it is not in use."""
        return self._store.up()

    def stop(self) -> None:
        """Stop the background probe of Redis."""
        self._store.stop()

    def _lead(self, flight: Flight, key: str, request: RemovalRequest, deadline: Deadline) -> RemovalResult:
        """Find the result for all followers, or have it computed."""
        started = time.monotonic()
        try:
            flight.result = self._look_up(key)
            if flight.result is not None:
                return _shared(flight, started)
            result = self._submitter.submit(request, deadline)
            flight.result = replace(result, stages_ms={}, stages_mb={})
            flight.ended.set()  # followers need not wait for the store
            if not result.under_load:  # the next request may get the better result
                self._keep(key, flight.result)
            return replace(result, cache="miss")
        except ServiceError as error:
            flight.error = error if _is_about_input(error) else None
            flight.late = isinstance(error, DeadlineExceeded)
            raise
        finally:
            self._flights.end(key)

    def _look_up(self, key: str) -> RemovalResult | None:
        try:
            result = self._store.get(key)
        except CircuitOpen:
            self._on_lookup(Lookup.ERROR)
            return None
        self._on_lookup(Lookup.MISS if result is None else Lookup.HIT)
        return result

    def _keep(self, key: str, result: RemovalResult) -> None:
        if len(result.body) <= self._max_bytes:
            with suppress(CircuitOpen):  # it is computed again next time
                self._store.put(key, result)


def open_cache(
    settings: Settings, capacity: Capacity, submitter: Submitter, on_lookup: Callable[[Lookup], None]
) -> ResultCache | None:
    """Return the cache of CACHE_URL, None if it is unset; open no connection."""
    store = _open_store(settings, capacity)
    if store is None:
        return None
    max_bytes = int(settings.cache_max_mb * MEGABYTE * MAX_SHARE)
    return ResultCache(submitter, store, ResultKeys(capacity.config), max_bytes, on_lookup)


def _open_store(settings: Settings, capacity: Capacity) -> Store | None:
    """Return the store of CACHE_URL, None if it is unset; open no connection."""
    if settings.cache_url is None:
        return None
    if settings.cache_in_memory:
        _warn_if_too_large(settings, capacity)
        return MemoryStore(settings.cache_max_mb * MEGABYTE, settings.cache_ttl)
    from app.cache.redis_store import RedisStore  # only when used: the Redis client takes memory

    return RedisStore(settings.cache_url.get_secret_value(), settings.cache_max_mb * MEGABYTE, settings.cache_ttl)


def _warn_if_too_large(settings: Settings, capacity: Capacity) -> None:
    needed, limit = max_memory_mb(settings, capacity), memory_limit() // MEGABYTE
    if needed > limit:
        log.warning("cache.too_large cache_mb=%d most_mb=%d limit_mb=%d", settings.cache_max_mb, needed, limit)


def _shared(flight: Flight, started: float) -> RemovalResult:
    """Return the result of a flight, with the time since `started` as its only stage, or raise its error."""
    if flight.error is not None:
        raise copy.copy(flight.error)  # threads that raise the same object would mix up its tracebacks
    assert flight.result is not None  # noqa: S101  # for the type checker
    waited = round((time.monotonic() - started) * 1000, 2)
    return replace(flight.result, cache="hit", stages_ms={"cache": waited})


def _is_about_input(error: ServiceError) -> bool:
    """Return whether an error is about the image or the options, so that every follower would get it."""
    return 400 <= error.status < 500 and error.status != 429
