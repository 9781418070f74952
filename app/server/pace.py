"""Minimum rate of a client, and the measure by which connections are closed first."""

from __future__ import annotations

import time

__all__ = ["MIN_RATE", "Pace"]

# Bytes per second that a client must send or receive on average, and the seconds before the check starts.
MIN_RATE, GRACE_SECONDS = 4_000, 10.0
# Bytes and seconds added to the measure of a new connection, which has had no time to show its rate.
HEAD_START_BYTES, HEAD_START_SECONDS = 100_000, 0.001


class Pace:
    """Bytes that a client has moved since a start."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.moved = 0

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the client is too slow, if it moves nothing more."""
        return self.started + GRACE_SECONDS + self.moved / MIN_RATE - time.monotonic()

    @property
    def rate(self) -> float:
        """Return bytes per second, with a head start."""
        return (self.moved + HEAD_START_BYTES) / (time.monotonic() - self.started + HEAD_START_SECONDS)

    def excuse(self, seconds: float) -> None:
        """Exclude a pause caused by the server."""
        self.started += seconds
