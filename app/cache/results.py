"""Answer a request from what is kept, or have it worked on once for all who want the same."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

from app.cache.flights import Flight, Flights
from app.cache.keys import ResultKeys
from app.cache.stores import Store, StoreDown, open_store
from app.engine.container import MEGABYTE
from app.engine.pool import LOOK_SECONDS, Abandoned, EnginePool
from app.errors import DeadlineExceeded, ServiceError
from app.layout import Layout
from app.removal import RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = ["Lookup", "ResultCache", "open_cache"]

# Most of the cache that one result may take: a few huge ones would push out all others.
LARGEST_SHARE = 1 / 4


class Lookup(StrEnum):
    """How looking for a result went."""

    HIT = "hit"  # it was kept, or another request for the same was under way
    MISS = "miss"
    ERROR = "error"  # the store could not be asked


class ResultCache:
    """A pool that works once on the same photo with the same options, as long as the result is kept.

    `most_bytes` is the largest picture that is kept. `counted` is told of every look-up.
    """

    def __init__(self, pool: EnginePool, store: Store, keys: ResultKeys, most_bytes: int) -> None:
        self._pool = pool
        self._store = store
        self._keys = keys
        self._most_bytes = most_bytes
        self._flights = Flights()
        self.counted: Callable[[Lookup], None] = lambda lookup: None

    def submit(
        self, request: RemovalRequest, deadline: float, abandoned: Callable[[], bool] = lambda: False
    ) -> RemovalResult:
        """Return a request's result, kept or new, and raise what EnginePool.submit does; `cache` says which it is."""
        started = time.monotonic()
        key = self._keys.of(request)
        if key is None:
            return self._pool.submit(request, deadline, abandoned)
        while True:
            flight, leads = self._flights.board(key)
            if leads:
                return self._lead(flight, key, request, deadline, abandoned)
            _await(flight, deadline, abandoned)
            if flight.result is not None or flight.error is not None:
                self.counted(Lookup.HIT)
                return _shared(flight, started)
            now = time.monotonic()
            if flight.late and deadline - now < now - started:  # one after the other would fail like the leader
                raise DeadlineExceeded(details="An earlier request for the same image was not finished in time.")

    def up(self) -> bool | None:
        """Tell whether Redis can be reached; None where it is not in use."""
        return self._store.up()

    def stop(self) -> None:
        """Look after Redis no more."""
        self._store.stop()

    def _lead(
        self, flight: Flight, key: str, request: RemovalRequest, deadline: float, abandoned: Callable[[], bool]
    ) -> RemovalResult:
        """Find the result for all who follow, or have it worked on."""
        started = time.monotonic()
        try:
            flight.result = self._look_up(key)
            if flight.result is not None:
                return _shared(flight, started)
            result = self._pool.submit(request, deadline, abandoned)
            flight.result = replace(result, stages_ms={}, stages_mb={})
            flight.ended.set()  # nobody needs to wait until it is kept
            self._keep(key, flight.result)
            return replace(result, cache="miss")
        except ServiceError as error:
            flight.error = error if _concerns_everybody(error) else None
            flight.late = isinstance(error, DeadlineExceeded)
            raise
        finally:
            self._flights.end(key)

    def _look_up(self, key: str) -> RemovalResult | None:
        try:
            result = self._store.get(key)
        except StoreDown:
            self.counted(Lookup.ERROR)
            return None
        self.counted(Lookup.MISS if result is None else Lookup.HIT)
        return result

    def _keep(self, key: str, result: RemovalResult) -> None:
        if len(result.body) <= self._most_bytes:
            with suppress(StoreDown):  # it is worked on again next time
                self._store.put(key, result)


def open_cache(settings: Settings, layout: Layout, pool: EnginePool) -> ResultCache | None:
    """Return the cache that CACHE_URL asks for, None for none; connects to nothing."""
    store = open_store(settings, layout)
    if store is None:
        return None
    most_bytes = int(settings.cache_max_mb * MEGABYTE * LARGEST_SHARE)
    return ResultCache(pool, store, ResultKeys(layout.config), most_bytes)


def _await(flight: Flight, deadline: float, abandoned: Callable[[], bool]) -> None:
    while not flight.ended.wait(LOOK_SECONDS):
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                details="The deadline passed while another request for the same image was worked on."
            )
        if abandoned():
            raise Abandoned()


def _shared(flight: Flight, started: float) -> RemovalResult:
    """Return what a flight brought, with the time since `started` as its only stage; or raise its error."""
    if flight.error is not None:
        raise copy.copy(flight.error)  # threads that raise the same object would mix up its traces
    assert flight.result is not None  # noqa: S101  # for the type checker
    waited = round((time.monotonic() - started) * 1000, 2)
    return replace(flight.result, cache="hit", stages_ms={"cache": waited})


def _concerns_everybody(error: ServiceError) -> bool:
    """Tell whether an error is about the image or the options, rather than about the moment."""
    return 400 <= error.status < 500 and error.status != 429
