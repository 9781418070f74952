"""Who may come in: a bounded number of requests, fewer of them with their body in memory, and a clear word to the rest.

A request has a place from its headers to its answer; there are as many places as engines and queue together. Its body
is read once it also has one of the fewer upload slots, so that those that wait take no memory.

Who finds no place is told when to come back, and that is a promise: places are kept for those whose time has come.
Without it, clients that ask without a pause would take every place that becomes free, and one that waits as it was
told would hardly ever find one. Who comes back is known by address, path and length of the body: good enough to keep a
place, and of no use to anybody else.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.engine.pool import LOOK_SECONDS, Abandoned, EnginePool
from app.errors import DeadlineExceeded, QueueFull, ShuttingDown

__all__ = ["Admission", "Caller"]

# Estimates are stretched by this: a place that waits for its client costs nothing while others queue.
CAUTION = 1.5
# Seconds after which a promise that nobody has called on is forgotten.
GRACE = 3.0
MOST_PROMISES = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """What tells a request that comes back from another one, before its body is read."""

    address: str
    path: str
    content_length: int | None


class Admission:
    """Hand out places and upload slots."""

    def __init__(
        self, pool: EnginePool, places: int, uploads: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._places = places
        self._free_uploads = uploads
        self._clock = clock
        self._changed = threading.Condition()
        self._taken = 0
        self._waiting: deque[object] = deque()
        self._promises: list[tuple[float, Caller]] = []

    @property
    def taken(self) -> int:
        """Return how many requests have a place."""
        return self._taken

    @contextmanager
    def place(self, caller: Caller, deadline: float, abandoned: Callable[[], bool]) -> Iterator[None]:
        """Hold a place and an upload slot for the block.

        Raise QueueFull at once with the seconds to wait, ShuttingDown, DeadlineExceeded or Abandoned.
        """
        self._enter(caller)
        try:
            self._await_upload_slot(deadline, abandoned)
            try:
                yield
            finally:
                with self._changed:
                    self._free_uploads += 1
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._taken -= 1

    def _enter(self, caller: Caller) -> None:
        if self._pool.closing:
            raise ShuttingDown()
        with self._changed:
            now = self._clock()
            self._promises = [promise for promise in self._promises if promise[0] + GRACE > now]
            status = self._pool.status()
            seconds_per_place = status.service_seconds / max(1, status.ready)
            kept_for_it = self._redeem(caller, now)
            # While an engine has nothing to do, nobody is turned away for the sake of somebody who may come.
            kept = 0 if kept_for_it or self._taken < status.engines else self._kept(now, seconds_per_place)
            if self._places - self._taken > kept:
                self._taken += 1
                return
            raise QueueFull(retry_after=self._promise(caller, now, seconds_per_place, first=kept_for_it))

    def _redeem(self, caller: Caller, now: float) -> bool:
        """Take back the promise that this caller calls on, if there is one and its time has come."""
        for promise in self._promises:
            if promise[1] == caller and promise[0] <= now + LOOK_SECONDS:
                self._promises.remove(promise)
                return True
        return False

    def _kept(self, now: float, seconds_per_place: float) -> int:
        """Return how many places are kept: for those who are due, and those who will be before another becomes free."""
        horizon = now + max(1.0, 2 * seconds_per_place)
        return sum(due <= horizon for due, _ in self._promises)

    def _promise(self, caller: Caller, now: float, seconds_per_place: float, *, first: bool) -> int:
        """Return in how many whole seconds a place should be free, and keep it for this caller."""
        position = 1 if first else len(self._promises) + 1
        seconds = max(1, math.ceil(CAUTION * position * seconds_per_place))
        if len(self._promises) < MOST_PROMISES:
            self._promises.append((now + seconds, caller))
        return seconds

    def _await_upload_slot(self, deadline: float, abandoned: Callable[[], bool]) -> None:
        """Wait in line for a slot to read the body into."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not (self._free_uploads and self._waiting[0] is ticket):
                    self._changed.wait(LOOK_SECONDS)
                    if self._clock() >= deadline:
                        raise DeadlineExceeded(details="The deadline passed before the image could be read.")
                    if abandoned():
                        raise Abandoned()
                self._free_uploads -= 1
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
