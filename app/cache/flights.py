"""One computation for all that want the same at the same time: the first leads, the others follow."""

from __future__ import annotations

import threading

from app.errors import ServiceError
from app.removal import RemovalResult

__all__ = ["Flight", "Flights"]


class Flight:
    """The computation of one result. Once `ended`, it has a result, an error that everybody gets, or neither."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.result: RemovalResult | None = None
        self.error: ServiceError | None = None
        self.late = False  # the leader's time was over


class Flights:
    """The computations that are under way in this web worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def board(self, key: str) -> tuple[Flight, bool]:
        """Return the flight for a key and whether the caller leads it; a leader must `end` it, whatever happens."""
        with self._lock:
            leads = key not in self._flights
            return self._flights.setdefault(key, Flight()), leads

    def end(self, key: str) -> None:
        """Have whoever comes next lead a flight of its own, and then let those go on that follow this one."""
        with self._lock:
            flight = self._flights.pop(key)
        flight.ended.set()
