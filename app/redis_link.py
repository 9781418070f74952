"""Circuit breaker for every user of Redis.

A request never waits for Redis longer than PATIENCE. The first that gets no answer opens the circuit: from then on
nobody asks, until a thread that tries every few seconds finds Redis well again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["CLIENT_OPTIONS", "PATIENCE", "PROBE_LIFE", "Circuit", "CircuitOpen"]

log = logging.getLogger(__name__)
T = TypeVar("T")

# Most seconds that a request waits in all: one errand may take several questions, and looking up a host's name, which
# no socket timeout bounds, can take many seconds.
PATIENCE = 0.5
# Seconds for one question to Redis.
SOCKET_SECONDS = 0.25
# Seconds between two looks at Redis, and after which what a look has written is gone.
PROBE_SECONDS = 2.0
PROBE_LIFE = 60
# Requests that ask Redis at the same time, per web worker; each takes well under a millisecond.
MOST_QUESTIONS = 16
# OSError: it took longer than PATIENCE. ValueError: its name cannot be one. RuntimeError: the interpreter is ending and
# starts no threads.
FAILURES = (OSError, ValueError, RuntimeError)
CLIENT_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    "retry": None,  # the default: three times, with pauses
    "protocol": 2,  # fewer questions per connection than the default, and all that is needed
}


class CircuitOpen(Exception):
    """Redis cannot be reached now."""


class Circuit:
    """Circuit breaker of one client of Redis; connects with the first question, never before.

    `probe` writes to Redis as its user does, and raises `failure` when that is refused or not answered. `recovered` is
    called whenever Redis answers again. Both changes are logged, with `name` in front.
    """

    def __init__(
        self,
        name: str,
        client: Any,
        probe: Callable[[], object],
        failure: type[Exception],
        recovered: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._client = client
        self._probe = probe
        self._failures = (failure, *FAILURES)
        self._recovered = recovered
        self._questions = ThreadPoolExecutor(MOST_QUESTIONS, name)
        self._lock = threading.Lock()
        self._up: bool | None = None
        self._watcher: threading.Thread | None = None
        self._known, self._stopped = threading.Event(), threading.Event()

    def ask(self, question: Callable[[], T], patience: float = PATIENCE) -> T:
        """Return the answer to a question, waiting for `patience` seconds at most; raise CircuitOpen."""
        self._watch()
        if self._up is False:
            raise CircuitOpen
        try:
            answer = self._questions.submit(question)
            try:
                return answer.result(max(0.0, patience))
            finally:
                answer.cancel()  # one that has waited in line in vain must not be asked later
        except self._failures as error:
            self._now(up=False, reason=error)
            raise CircuitOpen from error

    def up(self) -> bool:
        """Return whether Redis answered when it was last asked, at most some seconds ago."""
        self._watch()
        self._known.wait(PATIENCE)
        return self._up is True

    def stop(self) -> None:
        """Stop the background probe."""
        self._stopped.set()
        self._questions.shutdown(wait=False)

    def _watch(self) -> None:
        """Start the probe; not earlier than needed, so that no thread crosses gunicorn's fork."""
        if self._watcher is None:
            with self._lock:
                if self._watcher is None:
                    self._watcher = threading.Thread(target=self._look, name=f"{self._name}-watch", daemon=True)
                    self._watcher.start()

    def _look(self) -> None:
        while not self._stopped.is_set():
            try:
                self._probe()
                self._now(up=True)
            except self._failures as error:
                self._now(up=False, reason=error)
            self._stopped.wait(PROBE_SECONDS)

    def _now(self, *, up: bool, reason: Exception | None = None) -> None:
        with self._lock:
            before, self._up = self._up, up
        self._known.set()
        if up and not before:
            self._recovered()
            log.info("%s.storage_up", self._name)
        elif up is not before:
            log.warning("%s.storage_down error=%s reason=%r", self._name, type(reason).__name__, str(reason))
            # Idle connections may be as dead as the one that failed, and would each cost a timeout.
            self._client.connection_pool.disconnect(inuse_connections=False)
