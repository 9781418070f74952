"""One computation for concurrent requests of the same result (single flight): the first leads, the others follow."""

from __future__ import annotations

import threading

from app.errors import ServiceError
from app.removal import RemovalResult

__all__ = ["Flight", "Flights"]


class Flight:
    """The computation of one result. Once `ended`, it has a result, an error for all followers, or neither."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.result: RemovalResult | None = None
        self.error: ServiceError | None = None
        self.late = False  # the leader's deadline passed


class Flights:
    """Computations in progress in this web worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the flight for a key and whether the caller leads it; a leader must always `end` it."""
        with self._lock:
            leads = key not in self._flights
            return self._flights.setdefault(key, Flight()), leads

    def end(self, key: str) -> None:
        """Remove the flight of a key, so that the next request leads a new one, then wake the followers."""
        with self._lock:
            flight = self._flights.pop(key)
        flight.ended.set()
