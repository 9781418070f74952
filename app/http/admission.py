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
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from app.engine.pool import LOOK_SECONDS, Abandoned, EnginePool
from app.errors import DeadlineExceeded, QueueFull, ShuttingDown

__all__ = ["Admission", "Caller"]

# Estimates are stretched by this: photos take uneven times, and a place kept too long costs nothing while others queue.
CAUTION = 5.0
# Seconds before a promise falls due in which a place that becomes free is kept for it.
HORIZON = 2.0
# Seconds after which a promise that nobody has called on is forgotten.
GRACE = 3.0
MOST_PROMISES = 256
# Clients that can't be told apart, such as one that posts the same photo several times at once.
MOST_ALIKE = 8


@dataclass(frozen=True, slots=True)
class Caller:
    """What tells a request that comes back from another one, before its body is read."""

    address: str
    path: str
    content_length: int | None


@dataclass(frozen=True, slots=True)
class _Promise:
    """A place from `due` on, for a caller that has been refused so often."""

    due: float
    caller: Caller
    refusals: int


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
        self._promises: list[_Promise] = []

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
            now, status = self._clock(), self._pool.status()
            seconds_per_place = status.service_seconds / max(1, status.ready)
            self._promises = [promise for promise in self._promises if promise.due + GRACE > now]
            called_on = self._redeem(caller, now)
            # While an engine has nothing to do, nobody is turned away for the sake of somebody who may come.
            kept = 0 if self._taken < status.engines else self._kept_from(called_on, now, seconds_per_place)
            if self._places - self._taken > kept:
                self._taken += 1
                return
            raise QueueFull(retry_after=self._promise(caller, called_on, now, seconds_per_place))

    def _redeem(self, caller: Caller, now: float) -> _Promise | None:
        """Take back the promise that this caller calls on, if there is one and its time has come."""
        for promise in self._promises:
            if promise.caller == caller and promise.due <= now + LOOK_SECONDS:
                self._promises.remove(promise)
                return promise
        return None

    def _kept_from(self, called_on: _Promise | None, now: float, seconds_per_place: float) -> int:
        """Return how many places this caller must leave to others.

        A newcomer leaves them to those who are due, and to those who will be before another becomes free; who comes
        back for the first time, to those whom a promise has failed once already; these, to nobody.
        """
        if called_on is None:
            horizon = now + max(HORIZON, 2 * seconds_per_place)
            before_it = sum(promise.due <= horizon for promise in self._promises)
        else:
            before_it = sum(promise.refusals > called_on.refusals for promise in self._promises)
        return min(before_it, max(1, self._places // 2))  # promises alone never shut the door

    def _promise(self, caller: Caller, called_on: _Promise | None, now: float, seconds_per_place: float) -> int:
        """Return in how many whole seconds a place should be free, and keep it for this caller.

        Who asks again too early is told what is left of the time: asking often earns no more places.
        """
        own = [promise for promise in self._promises if promise.caller == caller]
        if called_on is None and len(own) >= MOST_ALIKE:
            return max(1, math.ceil(own[0].due - now))
        seconds = 1 if called_on else self._free_second(now, CAUTION * seconds_per_place)
        if len(self._promises) < MOST_PROMISES:
            refusals = called_on.refusals + 1 if called_on else 1
            self._promises.append(_Promise(now + seconds, caller, refusals))
        return seconds

    def _free_second(self, now: float, seconds_per_place: float) -> int:
        """Return the first whole second from now in which fewer promises fall due than places should become free."""
        most = max(1, int(1 / seconds_per_place))
        earliest = max(1, math.ceil(seconds_per_place))
        due = Counter(math.ceil(promise.due - now) for promise in self._promises)
        return next(second for second in count(earliest, earliest) if due[second] < most)

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
