"""Run of the WSGI application for one request, in a thread of the pool."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import Any

from gunicorn.http import wsgi

from app.server.flush import Flush

__all__ = ["Reply", "ThreadPool"]

# Bytes of an answer to collect from the application before sending.
STEP_BYTES = 1 << 20
# Bytes below which pieces are joined: each is sent with a system call.
SMALL = 16_384


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
        self.pieces: list[bytes | bytearray] = []
        self.size = 0

    def sendall(self, data: bytes) -> None:
        self.size += len(data)
        last = self.pieces[-1] if self.pieces else b""
        if len(data) > SMALL:
            self.pieces.append(data)
        elif isinstance(last, bytearray) and len(last) <= SMALL:
            last += data
        else:
            self.pieces.append(bytearray(data))

    def send(self, data: bytes) -> int:
        """Drop gunicorn's `100 Continue`: it was sent before the body was read."""
        return len(data)

    def take(self) -> list[bytes | bytearray]:
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
        self._lock = Lock()
        self._context = copy_context()  # one for all steps, each in another thread: Flask keeps its request there
        self.pause = 0.0  # seconds to wait before the next step
        self.ended = self.cut = False

    def step(self) -> list[bytes | bytearray]:
        """Return the next bytes to send; the last ones when `ended` is set, also after `cut` was set."""
        with self._lock:
            return self._context.run(self._step)

    def _step(self) -> list[bytes | bytearray]:
        self.pause = 0.0
        if self._iterable is None:
            self._iterable = self._application(self.environ, self.response.start_response)
            self._items = iter(self._iterable)
        for item in () if self.cut else self._items:
            self.response.write(item)
            if isinstance(item, Flush):
                self.pause = item.pause
                return self._sink.take()
            if self._sink.size >= STEP_BYTES:
                return self._sink.take()
        self.response.close()
        self._close()
        self.ended = True
        return self._sink.take()

    def close(self) -> None:
        """Let the application clean up, after a step that is in progress."""
        with self._lock:
            self._context.run(self._close)

    def _close(self) -> None:
        iterable, self._iterable = self._iterable, ()
        if hasattr(iterable, "close"):
            iterable.close()
