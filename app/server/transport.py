"""Socket of one client in the event loop: received bytes, waits with the client's minimum rate, closing."""

from __future__ import annotations

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from app.server.budget import Budget
from app.server.pace import Pace

__all__ = ["PIECE", "ClientGone", "Transport", "TransportHost"]

# Seconds for the client to close the connection after the last answer.
LINGER_SECONDS = 2.0
# Bytes to read at once, and the pause in seconds after each read of discarded bytes: at most 25 MB per second.
PIECE, DISCARD_PAUSE = 65_536, 0.01


class TransportHost(Protocol):
    """The worker as a transport sees it."""

    loop: asyncio.AbstractEventLoop
    budget: Budget
    request_timeout: float


class ClientGone(Exception):
    """The client has closed the connection or is too slow for an answer."""


class Transport(ABC):
    """Receiving, sending and waiting; every method runs in the event loop and may raise TimeoutError and OSError."""

    def __init__(self, worker: TransportHost, connected: socket.socket) -> None:
        self.loop, self.budget, self.request_timeout = worker.loop, worker.budget, worker.request_timeout
        self.socket = connected
        self.pace = Pace()
        self.held = 0
        self.working = False  # in the application, so it must not be closed
        self.received = bytearray()
        self._paused: asyncio.Future[bool] | None = None  # its result: whether the client has hung up

    @abstractmethod
    def close(self) -> None:
        """Close at once."""

    async def receive(self, seconds: float, size: int = PIECE) -> int:
        """Receive up to `size` bytes within `seconds`; return their number, 0 at the end of the connection."""
        while True:
            try:
                data = self.socket.recv(size)
            except BlockingIOError:
                await self.readable(seconds)
            else:
                self.received += data
                self.pace.move(len(data))
                self.budget.charge(self, len(data))
                return len(data)

    async def send(self, data: bytes | bytearray) -> None:
        """Send all bytes."""
        left = memoryview(data)
        while left:
            try:
                sent = self.socket.send(left[: 4 * PIECE])
            except BlockingIOError:
                await self._wait(self.loop.add_writer, self.loop.remove_writer, self.pace.seconds_left)
            else:
                self.pace.move(sent)
                left = left[sent:]

    async def readable(self, seconds: float) -> None:
        """Wait for bytes or the end of the connection."""
        await self._wait(self.loop.add_reader, self.loop.remove_reader, seconds)

    async def pause(self, seconds: float) -> None:
        """Wait until `resume` at most; raise ClientGone as soon as the client closes its sending half."""
        self._paused = self.loop.create_future()
        self.loop.add_reader(self.socket, self._look_for_end)
        try:
            async with asyncio.timeout(seconds):
                if await self._paused:
                    raise ClientGone
        except TimeoutError:
            pass
        finally:
            self._paused = None
            self.loop.remove_reader(self.socket)

    def resume(self) -> None:
        """End a pause."""
        if self._paused is not None:
            _set(self._paused, value=False)

    def _look_for_end(self) -> None:
        try:
            more = self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        self.loop.remove_reader(self.socket)  # another request stays in the socket, in front of the end
        if not more and self._paused is not None:
            _set(self._paused, value=True)

    async def linger(self, *, unread: bool) -> None:
        """Let the client read the last answer before the connection is closed (RFC 9112, 9.6).

        A client that is still sending a body (`unread`) would get a connection error instead, so its bytes are read and
        discarded.
        """
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.received.clear()
        self.pace = Pace()
        deadline = time.monotonic() + (self.request_timeout if unread else LINGER_SECONDS)
        while True:
            await self.readable(min(self.pace.seconds_left, deadline - time.monotonic()))
            size = len(self.socket.recv(4 * PIECE))
            if not size:
                return
            self.pace.move(size)
            await asyncio.sleep(DISCARD_PAUSE)

    async def _wait(self, add: Any, remove: Any, seconds: float) -> None:
        ready = self.loop.create_future()
        add(self.socket, partial(_set, ready, value=True))
        try:
            async with asyncio.timeout(seconds):
                await ready
        finally:
            remove(self.socket)


def _set(future: asyncio.Future[bool], *, value: bool) -> None:
    if not future.done():
        future.set_result(value)
