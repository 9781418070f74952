"""gunicorn's worker class of this service: an event loop for all connections, threads for the application.

In gunicorn 27's gthread worker a silent client, or one that reads no answer, holds a thread; connections are closed in
the accept loop (2 s each); an error of accept ends the worker. docs/decisions/server.md compares alternatives.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from gunicorn.workers.base import Worker

from app.engine.allocator import give_back_freed_memory
from app.server.budget import Budget
from app.server.connection import Connection
from app.server.reply import ThreadPool
from app.server.uploads import MAX_UPLOADS, Uploads

__all__ = ["ConnectionWorker"]

# File descriptors reserved for engines, logs, metrics and Redis.
RESERVED_FILES = 96
# Seconds for a request on a kept-alive connection of a stopping worker, for its last closes, and between heartbeats.
STOP_IDLE_SECONDS, CLOSE_SECONDS, HEARTBEAT_SECONDS = 2.0, 0.1, 1.0
# Bytes of answers in the send buffer of a client that does not read; without a limit megabytes for pipelined requests.
MAX_UNSENT = 65_536
# Requests that may start at the same time. More of them only wait for Python's lock and the log's: 200 cheap requests
# at once delayed /health by seconds.
MAX_STARTING = 4
# Seconds without an accept while there is no room for another connection.
ACCEPT_PAUSE = 0.05


class ConnectionWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Worker with an event loop for its connections; subclasses set the limits."""

    max_body: int
    max_buffered: int
    request_timeout: float
    # Maximum bytes of bodies that the application reads while they arrive, by method and path.
    streamed: Mapping[tuple[str, str], int] = MappingProxyType({})

    @classmethod
    def check_config(cls, config: Any, log: Any) -> None:
        """Refuse certificates: TLS ends at the proxy."""
        if config.is_ssl:
            sys.exit("TLS is not supported: remove certfile and keyfile, and put a proxy in front.")

    def init_process(self) -> None:
        """Create the loop and the pool before the application is loaded."""
        self.loop = asyncio.new_event_loop()
        self.pool = ThreadPool(self.cfg.threads, thread_name_prefix="request")
        self.budget = Budget(self.max_buffered, self.max_body)
        self.max_connections = max(16, min(self.cfg.worker_connections, _file_limit() - RESERVED_FILES))
        self.starting = asyncio.Semaphore(MAX_STARTING)
        self._connections: set[Connection] = set()
        self.stopping = asyncio.Event()
        self.uploads = Uploads(min(MAX_UPLOADS, max(1, self.cfg.threads // 2)))
        super().init_process()

    def handle_exit(self, number: int, frame: Any) -> None:
        """Begin a graceful stop (SIGTERM)."""
        self.alive = False
        self.loop.call_soon_threadsafe(self.stopping.set)

    def run(self) -> None:
        """Serve until the worker is stopped."""
        self.loop.run_until_complete(self._serve())
        self.pool.shutdown(wait=False)

    # For connections.

    def forget(self, connection: Connection) -> None:
        """Remove a connection that ends."""
        self._connections.discard(connection)

    def keeps_alive(self) -> bool:
        """Return whether a connection may be used for another request, and count this one."""
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
            self.stopping.set()
        return bool(self.alive and self.cfg.keepalive)

    # The loop.

    async def _serve(self) -> None:
        for listener in self.sockets:
            listener.setblocking(False)
            self._listen(listener)
        while self.alive and self.ppid == os.getppid():
            self.notify()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), HEARTBEAT_SECONDS)
            if self.budget.has_fallen():
                give_back_freed_memory()  # pieces of bodies are small, so their pages stay between others in the heap
        self._close_listeners()
        await self._finish()

    def _listen(self, listener: Any) -> None:
        if self.alive:
            self.loop.add_reader(listener.fileno(), self._accept, listener)

    def _close_listeners(self) -> None:
        """Stop listening as soon as the worker stops.

        Otherwise the system would accept connections without an answer, and a proxy would not try another instance.
        While the master listens, for another worker, no connection is refused.
        """
        for listener in self.sockets:
            self.loop.remove_reader(listener.fileno())
            self._accept_waiting(listener)
            listener.close()

    async def _finish(self) -> None:
        """Wait for the connections to end: idle ones for STOP_IDLE_SECONDS, all for the graceful timeout."""
        self.stopping.set()
        for connection in self._connections:
            connection.resume()
        now = time.monotonic()
        while self._connections and time.monotonic() < now + self.cfg.graceful_timeout:
            self.notify()
            if time.monotonic() > now + STOP_IDLE_SECONDS:
                self._close_idle()
            await asyncio.sleep(0.05)
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            await asyncio.sleep(CLOSE_SECONDS)  # their tasks end

    def _close_idle(self) -> None:
        for connection in list(self._connections):
            if connection.idle:
                connection.close()

    # Accepting.

    def _accept(self, listener: Any) -> None:
        """Accept a connection; close another one if there are too many."""
        if len(self._connections) >= self.max_connections and not self._make_room():
            self._pause(listener)  # all connections are in the application
            return
        try:
            connected, client = listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:  # no file descriptor, no memory
            self.log.warning("no connection can be accepted: %s", error.strerror)
            self._make_room()
            self._pause(listener)
            return
        self._add(listener, connected, client)

    def _accept_waiting(self, listener: Any) -> None:
        """Accept the connections in the system's backlog, which are reset when the last process stops listening."""
        with suppress(OSError):  # none is left
            while len(self._connections) < self.max_connections:
                self._add(listener, *listener.accept())

    def _pause(self, listener: Any) -> None:
        """Leave connections to the system's backlog for a moment."""
        self.loop.remove_reader(listener.fileno())
        self.loop.call_later(ACCEPT_PAUSE, self._listen, listener)

    def _add(self, listener: Any, connected: socket.socket, client: Any) -> None:
        self.address = listener.getsockname()
        connected.setblocking(False)
        if connected.family in {socket.AF_INET, socket.AF_INET6}:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
        connection = Connection(self, connected, client)
        self._connections.add(connection)

    def _make_room(self) -> bool:
        """Close the slowest connection; return whether there was one."""
        slowest = min(
            (each for each in self._connections if not each.working), key=lambda each: each.pace.rate, default=None
        )
        if slowest is None:
            return False
        self.forget(slowest)
        slowest.close()
        return True


def _file_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
