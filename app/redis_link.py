"""Circuit breaker for every user of Redis.

A request never waits for Redis longer than MAX_WAIT. The first command without an answer opens the circuit: from then
on no request calls Redis until a probe, sent by a thread every few seconds, succeeds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["CLIENT_OPTIONS", "MAX_WAIT", "PROBE_LIFE", "Circuit", "CircuitOpen"]

log = logging.getLogger(__name__)
T = TypeVar("T")

# Maximum seconds that a request waits in all: it may need several commands, and the DNS lookup of the host, which no
# socket timeout covers, can take many seconds.
MAX_WAIT = 0.5
# Timeout of one command, in seconds.
SOCKET_SECONDS = 0.25
# Seconds between two probes, and the time to live of what a probe writes.
PROBE_SECONDS = 2.0
PROBE_LIFE = 60
# Concurrent commands per web worker; each takes well under a millisecond.
MAX_CONCURRENT = 16
# OSError: no answer within MAX_WAIT. ValueError: an invalid host name. RuntimeError: the interpreter is ending and
# starts no threads.
FAILURES = (OSError, ValueError, RuntimeError)
CLIENT_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    "retry": None,  # the default: three times, with pauses
    "protocol": 2,  # sufficient, and needs fewer commands per connection than the default
}


class CircuitOpen(Exception):
    """Redis cannot be reached now."""


class Circuit:
    """Circuit breaker of one client of Redis; connects with the first command, never before.

    `probe` writes to Redis as the client does, and raises `failure` when the write is refused or not answered.
    `recovered` is called whenever Redis answers again. Both changes are logged, prefixed with `name`.
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
        self._executor = ThreadPoolExecutor(MAX_CONCURRENT, name)
        self._lock = threading.Lock()
        self._up: bool | None = None
        self._prober: threading.Thread | None = None
        self._known, self._stopped = threading.Event(), threading.Event()

    def call(self, command: Callable[[], T], max_wait: float = MAX_WAIT) -> T:
        """Return the result of a command, waiting for `max_wait` seconds at most; raise CircuitOpen."""
        self._start_probing()
        if self._up is False:
            raise CircuitOpen
        try:
            future = self._executor.submit(command)
            try:
                return future.result(max(0.0, max_wait))
            finally:
                future.cancel()  # a command that is still queued must not run later
        except self._failures as error:
            self._set_state(up=False, reason=error)
            raise CircuitOpen from error

    def up(self) -> bool:
        """Return whether Redis answered the last command, a few seconds ago at most."""
        self._start_probing()
        self._known.wait(MAX_WAIT)
        return self._up is True

    def stop(self) -> None:
        """Stop the background probe."""
        self._stopped.set()
        self._executor.shutdown(wait=False)

    def _start_probing(self) -> None:
        """Start the probe; not earlier than needed, so that no thread crosses gunicorn's fork."""
        if self._prober is None:
            with self._lock:
                if self._prober is None:
                    self._prober = threading.Thread(target=self._probe_loop, name=f"{self._name}-probe", daemon=True)
                    self._prober.start()

    def _probe_loop(self) -> None:
        while not self._stopped.is_set():
            try:
                self._probe()
                self._set_state(up=True)
            except self._failures as error:
                self._set_state(up=False, reason=error)
            self._stopped.wait(PROBE_SECONDS)

    def _set_state(self, *, up: bool, reason: Exception | None = None) -> None:
        with self._lock:
            before, self._up = self._up, up
        self._known.set()
        if up and not before:
            self._recovered()
            log.info("%s.storage_up", self._name)
        elif up is not before:
            log.warning("%s.storage_down error=%s reason=%r", self._name, type(reason).__name__, str(reason))
            # Idle connections may be dead as well, and would each cost a timeout.
            self._client.connection_pool.disconnect(inuse_connections=False)
