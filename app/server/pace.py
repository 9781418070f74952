"""Rate of a client: its minimum, and the order in which connections are closed."""

from __future__ import annotations

import time

__all__ = ["MIN_RATE", "Pace"]

# Bytes per second that a client must send or receive on average, and the seconds before the check starts.
MIN_RATE, GRACE_SECONDS = 4_000, 10.0
# Seconds without a byte, or bytes per second, at which a client's memory may be given to others.
STALL_SECONDS, STALL_RATE = 2.0, 20_000
# Bytes and seconds added in the rate, so that a new connection is not the slowest.
HEAD_START_BYTES, HEAD_START_SECONDS = 100_000, 0.001


class Pace:
    """Bytes that a client has sent or received since a start."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()
        self.moved = 0

    def move(self, size: int) -> None:
        """Count bytes that the client has sent or received now."""
        self.moved += size
        self.last = time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the client is too slow, without further bytes."""
        return self.started + GRACE_SECONDS + self.moved / MIN_RATE - time.monotonic()

    @property
    def rate(self) -> float:
        """Return bytes per second, with a head start."""
        return (self.moved + HEAD_START_BYTES) / (time.monotonic() - self.started + HEAD_START_SECONDS)

    @property
    def stalled(self) -> bool:
        """Return whether the client has moved nothing for STALL_SECONDS, or less than STALL_RATE on average."""
        return time.monotonic() - self.last > STALL_SECONDS or self.rate < STALL_RATE

    def excuse(self, seconds: float) -> None:
        """Exclude a pause caused by the server."""
        self.started += seconds
        self.last += seconds
