"""Reservations: places in a full queue for refused callers that retry after the seconds of their Retry-After.

Without reservations, clients that retry without a pause take every free place, and a client that respects Retry-After
hardly ever gets one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count

__all__ = ["GRACE_SECONDS", "MAX_ALIKE", "Reservation", "Reservations"]

# Factor on estimated waits: service times vary, and a place kept too long costs nothing while other requests wait.
SAFETY_FACTOR = 5.0
# Seconds before its due time in which a free place is kept for a reservation.
HORIZON_SECONDS = 2.0
# Seconds by which a retry may come early: clients round Retry-After.
EARLY_SECONDS = 0.25
# Seconds after which a reservation that was not used expires.
GRACE_SECONDS = 3.0
MAX_RESERVATIONS = 256
# Reservations per caller, for instance for a client that posts the same photo several times at once.
MAX_ALIKE = 8


@dataclass(frozen=True, slots=True)
class Reservation:
    """Place from `due` on (monotonic seconds), for a caller that was refused `refusals` times."""

    due: float
    caller: Hashable
    refusals: int


class Reservations:
    """Reservations of one queue; not thread-safe, the queue holds its lock."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._pending: list[Reservation] = []

    def __len__(self) -> int:
        return len(self._pending)

    def redeem(self, caller: Hashable, now: float) -> Reservation | None:
        """Remove and return a due reservation of the caller, None if there is none."""
        self._pending = [pending for pending in self._pending if pending.due + GRACE_SECONDS > now]
        for pending in self._pending:
            if pending.caller == caller and pending.due <= now + EARLY_SECONDS:
                self._pending.remove(pending)
                return pending
        return None

    def kept_from(self, redeemed: Reservation | None, now: float, seconds_per_place: float) -> int:
        """Return the number of free places that are kept for callers with precedence.

        For a new caller these are the reservations that are due before another place becomes free; for a caller with a
        reservation, the reservations with more refusals. At least half of the capacity is never kept.
        """
        if redeemed is None:
            horizon = now + max(HORIZON_SECONDS, 2 * seconds_per_place)
            ahead = sum(pending.due <= horizon for pending in self._pending)
        else:
            ahead = sum(pending.refusals > redeemed.refusals for pending in self._pending)
        return min(ahead, max(1, self._capacity // 2))

    def reserve(self, caller: Hashable, redeemed: Reservation | None, now: float, seconds_per_place: float) -> int:
        """Reserve a place for a refused caller and return its Retry-After in whole seconds.

        A caller with MAX_ALIKE reservations gets the time left of its first one: early retries add no reservations.
        """
        own = [pending for pending in self._pending if pending.caller == caller]
        if redeemed is None and len(own) >= MAX_ALIKE:
            return max(1, math.ceil(own[0].due - now))
        seconds = 1 if redeemed else self._free_second(now, SAFETY_FACTOR * seconds_per_place)
        if len(self._pending) < MAX_RESERVATIONS:
            refusals = redeemed.refusals + 1 if redeemed else 1
            self._pending.append(Reservation(now + seconds, caller, refusals))
        return seconds

    def _free_second(self, now: float, seconds_per_place: float) -> int:
        """Return the first second from now with fewer due reservations than places expected to become free."""
        limit = max(1, int(1 / seconds_per_place))
        earliest = max(1, math.ceil(seconds_per_place))
        due = Counter(math.ceil(pending.due - now) for pending in self._pending)
        return next(second for second in count(earliest, earliest) if due[second] < limit)
