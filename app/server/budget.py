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
    working: bool

    def close(self) -> None:
        """End the connection and give back its bytes."""


class Budget:
    """Bytes in memory, `limit` in all; the last `margin` of them are for the body that is the nearest to completion.

    Bytes count when they arrive, so that a client that announces a body and sends none takes nothing. Bodies wait for
    memory: of the clients with bytes to read, the one with the least left goes on, so that waiting bodies never block
    each other for ever, and small photos pass large bodies. If even the margin is full, the slowest connections without
    progress are closed. An answer cannot wait: it also closes those of slow readers.
    """

    def __init__(self, limit: int, margin: int) -> None:
        self.limit, self.margin = limit, margin
        self.used = 0
        self._peak = 0
        self._waiting: dict[Holder, int] = {}
        self._holders: set[Holder] = set()
        self._readers: set[Holder] = set()

    def charge(self, holder: Holder, size: int) -> None:
        """Count bytes that a connection now holds."""
        holder.held += size
        self.used += size
        self._holders.add(holder)
        self._peak = max(self._peak, self.used)

    def charge_answer(self, holder: Holder, size: int) -> None:
        """Count a piece of an answer, and close the connections of slow clients while there is no room."""
        self.charge(holder, size)
        self._readers.add(holder)
        while self.used > self.limit and len(slow := self._stalled() | self._readers) > 1:
            _close_slowest(slow)

    def release(self, holder: Holder, size: int | None = None) -> None:
        """Give back bytes of a connection, by default all."""
        size = holder.held if size is None else size
        holder.held -= size
        self.used -= size
        if not holder.held:
            self._holders.discard(holder)
            self._readers.discard(holder)

    def has_fallen(self) -> bool:
        """Return whether much has been released since the last time that this was true."""
        if self._peak - self.used < MIN_FALL:
            return False
        self._peak = self.used
        return True

    async def room(self, holder: Holder, remaining: int) -> None:
        """Wait until this connection may read on; `remaining` bytes of its body are still to come."""
        if self.used < self.limit - self.margin:
            return
        self._waiting[holder] = remaining
        try:
            while not self._may_read(remaining):
                while self.used >= self.limit and (slow := self._stalled()):
                    _close_slowest(slow)
                await asyncio.sleep(PAUSE_SECONDS)
                holder.pace.excuse(PAUSE_SECONDS)
        finally:
            del self._waiting[holder]

    def _may_read(self, remaining: int) -> bool:
        if self.used < self.limit - self.margin:
            return True
        return self.used < self.limit and remaining <= min(self._waiting.values())

    def _stalled(self) -> set[Holder]:
        """Return the connections that hold memory because their clients neither send nor read."""
        idle = (each for each in self._holders if not each.working and each not in self._waiting)
        return {each for each in idle if each.pace.stalled}


def _close_slowest(holders: set[Holder]) -> None:
    min(holders, key=lambda holder: holder.pace.rate).close()
