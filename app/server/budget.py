"""Memory for the bodies and answers of all connections of a worker."""

from __future__ import annotations

import asyncio
from typing import Protocol

from app.server.pace import Pace

__all__ = ["Budget", "Holder"]

PAUSE_SECONDS = 0.1
# Bytes released since the maximum after which freed memory is worth giving back to the system.
MIN_FALL = 4 << 20


class Holder(Protocol):
    """A connection as the budget sees it."""

    held: int
    pace: Pace

    def close(self) -> None:
        """End the connection and give back its bytes."""


class Budget:
    """Bytes in memory, `limit` in all; a receiver whose body is nearly complete may exceed it by `margin`.

    Bytes count when they have come, so that a client that announces a body and sends none takes nothing. An answer
    that exceeds the limit closes the connections of the slowest readers. A body waits: of the clients with bytes to
    read, the one with the least left to come goes on, so that waiting bodies never block each other for ever, and
    small photos pass large bodies.
    """

    def __init__(self, limit: int, margin: int) -> None:
        self.limit, self.margin = limit, margin
        self.used = 0
        self._peak = 0
        self._waiting: dict[Holder, int] = {}
        self._senders: set[Holder] = set()

    def charge(self, holder: Holder, size: int) -> None:
        """Count bytes that a connection now holds."""
        holder.held += size
        self.used += size
        self._peak = max(self._peak, self.used)

    def charge_answer(self, holder: Holder, size: int) -> None:
        """Count a piece of an answer, and close the connections of slow readers while there is no room."""
        self.charge(holder, size)
        self._senders.add(holder)
        while self.used > self.limit and len(self._senders) > 1:
            min(self._senders, key=lambda sender: sender.pace.rate).close()

    def release(self, holder: Holder, size: int | None = None) -> None:
        """Give back bytes of a connection, by default all."""
        size = holder.held if size is None else size
        holder.held -= size
        self.used -= size
        if not holder.held:
            self._senders.discard(holder)

    def has_fallen(self) -> bool:
        """Return whether much has been released since the last time that this was true."""
        if self._peak - self.used < MIN_FALL:
            return False
        self._peak = self.used
        return True

    async def room(self, holder: Holder, remaining: int) -> None:
        """Wait until this connection may read on; `remaining` bytes of its body are still to come."""
        if self.used < self.limit:
            return
        self._waiting[holder] = remaining
        try:
            while not self._may_read(remaining):
                await asyncio.sleep(PAUSE_SECONDS)
                holder.pace.excuse(PAUSE_SECONDS)
        finally:
            del self._waiting[holder]

    def _may_read(self, remaining: int) -> bool:
        if self.used < self.limit:
            return True
        return self.used < self.limit + self.margin and remaining <= min(self._waiting.values())
