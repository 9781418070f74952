"""The keeper of the process that serves METRICS_PORT: a thread of gunicorn's master."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress

__all__ = ["MetricsProcess"]

log = logging.getLogger(__name__)

# Seconds before the process is started again: doubled each time it dies young, up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 0.5, 30.0
YOUNG_SECONDS = 10.0
COMMAND = [sys.executable, "-m", "app.http.metrics_server"]


class MetricsProcess:
    """Start `python -m app.http.metrics_server` and replace it when it dies.

    gunicorn reaps every child of the master, whoever started it, so that only a thread that waits for this one child
    learns of its end. `posix_spawn`, because subprocess would wait on a pipe that a worker forked at the same moment
    holds open.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._pid = 0
        self._thread = threading.Thread(target=self._keep, name="metrics-process-keeper", daemon=True)

    def start(self) -> None:
        """Start the process, and keep it."""
        self._thread.start()

    def stop(self) -> None:
        """End the process."""
        self._stopped.set()
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)  # it has nothing to lose
        self._thread.join(timeout=5.0)

    def _keep(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._stopped.is_set():
            lived = self._run()
            backoff = FIRST_BACKOFF if lived > YOUNG_SECONDS else min(backoff * 2, LAST_BACKOFF)
            if not self._stopped.is_set():
                log.error("metrics.process_lost: started again in %.0f s", backoff)
            self._stopped.wait(backoff)

    def _run(self) -> float:
        """Start the process and wait for its end; return the seconds that it lived."""
        started = time.monotonic()
        try:
            self._pid = os.posix_spawn(sys.executable, [*COMMAND, str(os.getpid())], os.environ)
        except OSError as error:
            log.error("metrics.process_not_started error=%s", error.strerror)
            return 0.0
        if self._stopped.is_set():  # `stop` may have looked just before
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # gunicorn has reaped it
            os.waitpid(self._pid, 0)
        self._pid = 0
        return time.monotonic() - started
