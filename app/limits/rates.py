"""Limits over both storages: Redis where it is asked for and there, else this worker's memory."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from app.limits.counts import HOUR, Count, LocalCounts, StorageDown, Window
from app.settings import Settings

if TYPE_CHECKING:
    from app.limits.shared import SharedCounts

__all__ = ["RateLimits"]


class RateLimits:
    """Count requests where RATE_LIMIT_STORAGE says, and in memory while Redis is away."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing."""
        self._local = LocalCounts(settings.web_concurrency)
        self._shared = _shared(settings) if settings.rate_limit_storage == "redis" else None

    def enter(self, client: str, endpoint: str, limit: int, window: Window = HOUR) -> Count:
        """Count a request, unless its client has used up its `limit` per window at this endpoint."""
        if self._shared is not None:
            with suppress(StorageDown):
                return self._shared.enter(limit, (client, endpoint), window)
        return self._local.enter(limit, (client, endpoint), window)

    def charge(self, count: Count, more: int) -> Count:
        """Count more for a request that was let in, where it was counted."""
        if not count.shared:
            return self._local.charge(count, more)
        if self._shared is not None:
            with suppress(StorageDown):  # the photo is finished: its client gets it, whatever became of the counts
                return self._shared.charge(count, more)
        return count

    def give_back(self, count: Count) -> None:
        """Take back what a request counted, where it was counted."""
        if not count.shared:
            self._local.give_back(count)
        elif self._shared is not None:
            with suppress(StorageDown):  # nothing can be done for it then: the count ends with its window
                self._shared.give_back(count)

    def storage_up(self) -> bool | None:
        """Tell whether Redis can be reached; None where it is not in use."""
        return None if self._shared is None else self._shared.up()

    def stop(self) -> None:
        """Look after Redis no more."""
        if self._shared is not None:
            self._shared.stop()


def _shared(settings: Settings) -> SharedCounts:
    from app.limits.shared import SharedCounts  # only where it is in use: the client of Redis takes memory

    return SharedCounts(settings.redis_url.get_secret_value())
