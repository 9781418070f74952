"""Run of the WSGI application for one request, in a thread of the pool."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gunicorn.http import wsgi

__all__ = ["Reply", "ThreadPool"]

# Bytes of an answer to collect from the application before sending.
STEP_BYTES = 1 << 20


class ThreadPool(ThreadPoolExecutor):
    """Threads in which the application runs."""

    def _adjust_thread_count(self) -> None:
        """Start another thread; without one the existing threads do the work.

        The standard library queues the work and then raises RuntimeError at the limit of threads.
        """
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


class _Sink:
    """The socket that gunicorn's Response writes to."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def sendall(self, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)

    def send(self, data: bytes) -> int:
        """Drop gunicorn's `100 Continue`: it was sent before the body was read."""
        return len(data)

    def take(self) -> list[bytes]:
        pieces, self.pieces, self.size = self.pieces, [], 0
        return pieces


class Reply:
    """Answer of the application, produced in steps so that a large file is never in memory as a whole."""

    def __init__(self, application: Any, request: Any, server: Any, config: Any, client: Any) -> None:
        self._application = application
        self._sink = _Sink()
        self.response, self.environ = wsgi.create(request, self._sink, client, server, config)
        self.environ["wsgi.multithread"] = True
        self._iterable: Any = None
        self._items: Iterator[bytes] = iter(())
        self.ended = False

    def step(self) -> list[bytes]:
        """Return the next bytes to send; the last ones when `ended` is set."""
        if self._iterable is None:
            self._iterable = self._application(self.environ, self.response.start_response)
            self._items = iter(self._iterable)
        for item in self._items:
            self.response.write(item)
            if self._sink.size >= STEP_BYTES:
                return self._sink.take()
        self.response.close()
        self.close()
        self.ended = True
        return self._sink.take()

    def close(self) -> None:
        """Let the application clean up."""
        iterable, self._iterable = self._iterable, ()
        if hasattr(iterable, "close"):
            iterable.close()
