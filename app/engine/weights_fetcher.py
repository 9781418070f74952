"""Download of missing weights at start, in a separate process; requests get 503 until it is complete."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from app.engine import weights
from app.engine.models import REGISTRY

__all__ = ["WeightsFetcher"]

log = logging.getLogger(__name__)

FIRST_WAIT, LAST_WAIT = 30.0, 600.0


def pull(name: str) -> int:
    """Run `python -m app models pull NAME` and return its exit status."""
    return subprocess.run([sys.executable, "-m", "app", "models", "pull", name], check=False).returncode  # noqa: S603


class WeightsFetcher:
    """Fetch missing weights in the background, and try again after a failure."""

    def __init__(self, models: Sequence[str], home: str = "", pull: Callable[[str], int] = pull) -> None:
        self._models = models
        self._home = home
        self._pull = pull
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the download in the background if weights are missing."""
        if self._missing():
            threading.Thread(target=self._fetch, name="weights-fetcher", daemon=True).start()

    def stop(self) -> None:
        """Stop further attempts; a running download continues, for the next start."""
        self._stopped.set()

    def _missing(self) -> list[str]:
        return [name for name in self._models if not weights.find_all(REGISTRY[name], self._home)]

    def _fetch(self) -> None:
        wait = FIRST_WAIT
        while not self._stopped.is_set() and (missing := self._missing()):
            if any(self._pull(name) for name in missing):
                log.warning("fetching weights failed, next try in %.0f s", wait)
                self._stopped.wait(wait)
                wait = min(wait * 2, LAST_WAIT)
