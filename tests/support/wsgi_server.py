"""Connections of app/server on loopback, in this process, with an application of the test."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from gunicorn.config import Config

from app.errors import ServiceError
from app.server.budget import Budget
from app.server.connection import Connection
from app.server.reply import ThreadPool
from app.server.uploads import Uploads

__all__ = ["LIMIT", "PATH", "Application", "WsgiServer", "received", "rendering", "served"]

PATH, LIMIT = "/stream", 50_000_000
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiServer:
    """Worker for `Connection`, with a loop in a thread; bodies of POST to PATH are streamed."""

    def __init__(self, application: Application, uploads: int, threads: int) -> None:
        self.wsgi: Any = application
        self.loop = asyncio.new_event_loop()
        self.pool: ThreadPoolExecutor = ThreadPool(threads)
        self.budget = Budget(20_000_000, 1_000_000)
        self.starting = asyncio.Semaphore(threads)
        self.stopping = asyncio.Event()
        self.uploads = Uploads(uploads)
        self.max_body, self.request_timeout = 1_000_000, 60.0
        self.streamed: Mapping[tuple[str, str], int] = {("POST", PATH): LIMIT}
        self.cfg: Any = Config()
        self.log: Any = logging.getLogger("tests.wsgi_server")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address: Any = self.listener.getsockname()
        self.connections: set[Connection] = set()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=[self._serve()])
        self._thread.start()

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def keeps_alive(self) -> bool:
        return True

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection(self.address, 60)
        connection.sendall(data)
        return connection

    def ask(self, data: bytes) -> bytes:
        """Send bytes, close the sending half, and return everything received."""
        with self.connect(data) as connection:
            connection.shutdown(socket.SHUT_WR)
            return received(connection)

    def finish(self) -> None:
        """Begin a graceful stop."""
        self.loop.call_soon_threadsafe(self._finish)

    def close(self) -> None:
        """Close all connections at once, and end."""
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.pool.shutdown()
        self.loop.close()
        self.listener.close()

    def _finish(self) -> None:
        self.stopping.set()
        for connection in self.connections:
            connection.resume()

    async def _serve(self) -> None:
        self.loop.add_reader(self.listener, self._accept)
        await self._ended.wait()
        self.loop.remove_reader(self.listener)
        for connection in list(self.connections):
            connection.close()
        while self.connections:
            await asyncio.sleep(0.01)

    def _accept(self) -> None:
        connected, client = self.listener.accept()
        connected.setblocking(False)
        self.connections.add(Connection(self, connected, client))


@contextmanager
def served(application: Application, uploads: int = 4, threads: int = 8) -> Iterator[WsgiServer]:
    """Serve an application for the block."""
    server = WsgiServer(application, uploads, threads)
    try:
        yield server
    finally:
        server.close()


def received(connection: socket.socket) -> bytes:
    """Return all bytes up to the end of the connection."""
    whole = bytearray()
    while piece := connection.recv(1 << 20):
        whole += piece
    return bytes(whole)


def rendering(work: Callable[[dict[str, Any]], bytes]) -> Application:
    """Return an application that answers with the result of a function, or with the error that it raises."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, code, body = 200, "OK", b""
        try:
            body = work(environ)
        except ServiceError as error:
            status, code, body = error.status, error.code, error.details.encode()
        start_response(f"{status} {code}", [("Content-Length", str(len(body)))])
        return [body]

    return application
