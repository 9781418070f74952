"""Images that have brought engines down, remembered for a while by their hash, so that they don't do it again."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Quarantine"]

STRIKES = 2
SECONDS = 600.0
# More entries than this are of no use; the oldest go first.
MOST_ENTRIES = 1000


class Quarantine:
    """Count what each image has done to engines; refuse it after two strikes, for ten minutes from the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._strikes: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def strike(self, *images: bytes) -> None:
        """Note that an engine died of this image, or of this image and its background together."""
        key = _digest(images)
        with self._lock:
            self._forget_old()
            count, _ = self._strikes.pop(key, (0, 0.0))
            self._strikes[key] = (count + 1, self._clock())
            while len(self._strikes) > MOST_ENTRIES:
                self._strikes.popitem(last=False)

    def refuses(self, *images: bytes) -> bool:
        """Tell whether these have had their strikes; costs a hash only while any image has."""
        with self._lock:
            self._forget_old()
            if not self._strikes:
                return False
        key = _digest(images)
        with self._lock:
            return self._strikes.get(key, (0, 0.0))[0] >= STRIKES

    def _forget_old(self) -> None:
        oldest = self._clock() - SECONDS
        while self._strikes and next(iter(self._strikes.values()))[1] < oldest:
            self._strikes.popitem(last=False)


def _digest(images: tuple[bytes, ...]) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(image).digest() for image in images)).digest()
