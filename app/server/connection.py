"""One connection: it receives complete requests and sends answers; no thread waits for a client.

Everything here runs in the event loop, except for the application, which gets a request after its body is complete.
"""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from gunicorn.http.errors import NoMoreData, ParseException

from app.errors import DeadlineExceeded, FileTooLarge, MalformedRequest, RequestTimeout, ServiceError
from app.server.bodies import BodyStream, ChunkedBody, LengthBody, MalformedBody, OversizedBody
from app.server.budget import Budget
from app.server.environ import ARRIVAL, CONTINUE, ERROR
from app.server.heads import MAX_HEAD, body_of, head_size, parse_head, refusal, unreadable
from app.server.pace import Pace
from app.server.reply import Reply

__all__ = ["Connection", "Host"]

# Seconds for a complete head, and for the client to close the connection after the last answer.
HEAD_SECONDS, LINGER_SECONDS = 10.0, 2.0
# Bytes to read at once of a head; few, because the start of a body among them takes memory without waiting for room.
HEAD_PIECE = 4_096
# Bytes to read at once, and the pause in seconds after each read of discarded bytes: at most 25 MB per second.
PIECE, DISCARD_PAUSE = 65_536, 0.01
# Seconds for which a request counts as starting; a longer one waits for an engine or another server.
START_SECONDS = 0.01


class Host(Protocol):
    """The worker as a connection sees it."""

    loop: asyncio.AbstractEventLoop
    pool: ThreadPoolExecutor
    budget: Budget
    starting: asyncio.Semaphore
    max_body: int
    request_timeout: float
    cfg: Any
    log: Any
    wsgi: Any
    address: Any

    def forget(self, connection: Connection) -> None:
        """Remove a connection that ends."""

    def keeps_alive(self) -> bool:
        """Return whether a connection may be used for another request, and count this one."""


class Gone(Exception):
    """The client has closed the connection or is too slow for an answer."""


class Connection:
    """Connection of a client."""

    def __init__(self, worker: Host, connected: socket.socket, client: Any) -> None:
        self.worker, self.socket, self.client = worker, connected, client
        self.pace = Pace()
        self.held = 0
        self.working = False  # in the application, so it must not be closed
        self.idle = True  # between two requests
        self._received = bytearray()
        self._unread = False  # the client may still be sending an unused body
        self._first = True
        self._task = worker.loop.create_task(self._run())
        self._task.add_done_callback(self._end)

    def close(self) -> None:
        """Close at once."""
        self.worker.budget.release(self)
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while await self._serve_next():
                pass
            await self._linger()
        except (Gone, TimeoutError, OSError, asyncio.CancelledError):
            pass
        except Exception:
            self.worker.log.exception("connection failed")

    def _end(self, _task: asyncio.Task[None]) -> None:
        self.worker.budget.release(self)
        self.worker.forget(self)
        self.socket.close()

    async def _serve_next(self) -> bool:
        """Answer one request; return whether another may follow."""
        head = await self._head()
        arrival = time.monotonic()
        pieces: list[bytes] = []
        error: ServiceError | None = None
        try:
            request = parse_head(self.worker.cfg, head, self.client)
        except (ParseException, StopIteration, NoMoreData) as refused:
            request, error = unreadable(self.worker.cfg, self.client), refusal(refused)
            self._unread = True
        else:
            error = await self._body(request, arrival, pieces)
        return await self._answer(request, pieces, arrival, error)

    # Receiving.

    async def _head(self) -> bytes:
        """Return a request's head; raise Gone at the end of the connection, or TimeoutError."""
        self.pace, self.idle = Pace(), not self._received
        searched = 0
        kept_alive, self._first = self.idle and not self._first, False
        deadline = time.monotonic() + (self.worker.cfg.keepalive if kept_alive else HEAD_SECONDS)
        while not (size := head_size(self._received, searched)):
            if len(self._received) >= MAX_HEAD:
                return self._take_head(len(self._received))
            searched = len(self._received)
            if not await self._receive(deadline - time.monotonic(), HEAD_PIECE):
                raise Gone
            if self.idle:
                self.idle = False
                deadline = time.monotonic() + HEAD_SECONDS
        return self._take_head(size)

    def _take_head(self, size: int) -> bytes:
        head = bytes(self._received[:size])
        del self._received[:size]
        self.worker.budget.release(self, min(size, self.held))
        return head

    async def _body(self, request: Any, arrival: float, pieces: list[bytes]) -> ServiceError | None:
        """Read the body into `pieces`; return the error of an unusable one."""
        limit = self.worker.max_body
        body = body_of(request, limit)
        if body is None:
            return None
        self.pace = Pace()
        self._unread = True
        if isinstance(body, LengthBody) and body.remaining > limit:
            return None  # for the application to refuse
        if request._expected_100_continue and not self._received:
            await self._send(CONTINUE)
        try:
            await self._read_body(body, arrival + self.worker.request_timeout, pieces)
        except MalformedBody as error:
            return MalformedRequest(details=str(error))
        except OversizedBody:
            return FileTooLarge(
                f"The request's body has more than {limit} bytes.", solution=f"Send a body of at most {limit} bytes."
            )
        except DeadlineExceeded as error:
            return error
        except TimeoutError:
            return RequestTimeout()
        self._unread = not body.complete
        return None

    async def _read_body(self, body: LengthBody | ChunkedBody, deadline: float, pieces: list[bytes]) -> None:
        """Read the body into `pieces`; raise MalformedBody, OversizedBody, DeadlineExceeded or TimeoutError."""
        while True:
            pieces += body.feed(self._received)
            if body.complete:
                return
            await self._readable(min(self.pace.seconds_left, deadline - time.monotonic()))
            await self._room(body.remaining, deadline)
            if not await self._receive(1):
                raise MalformedBody("the body ended before its announced end")

    async def _room(self, remaining: int, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self.worker.budget.room(self, remaining)
        except TimeoutError:
            raise DeadlineExceeded(details="The deadline passed before the image could be read.") from None

    async def _receive(self, seconds: float, size: int = PIECE) -> int:
        """Receive up to `size` bytes within `seconds`; return their number, 0 at the end of the connection."""
        while True:
            try:
                data = self.socket.recv(size)
            except BlockingIOError:
                await self._readable(seconds)
            else:
                self._received += data
                self.pace.move(len(data))
                self.worker.budget.charge(self, len(data))
                return len(data)

    # Answering.

    async def _answer(self, request: Any, pieces: list[bytes], arrival: float, error: ServiceError | None) -> bool:
        """Run the application and send its answer; return whether another request may follow."""
        reply, error = self._reply(request, error)
        reply.environ |= {"wsgi.input": BodyStream(pieces), "gunicorn.socket": self.socket, ARRIVAL: arrival}
        pieces.clear()
        if error is not None:
            reply.environ[ERROR] = error
        if self._unread or error is not None or not self.worker.keeps_alive():
            reply.response.force_close()
        self.pace = Pace()
        try:
            while not reply.ended:
                await self._send_pieces(await self._work(reply))
        finally:
            if not reply.ended:
                self.worker.pool.submit(reply.close)
        return not reply.response.should_close()

    def _reply(self, request: Any, error: ServiceError | None) -> tuple[Reply, ServiceError | None]:
        worker = self.worker
        try:
            return Reply(worker.wsgi, request, worker.address, worker.cfg, self.client), error
        except ParseException as refused:  # its path does not fit a proxy's SCRIPT_NAME
            return self._reply(unreadable(worker.cfg, self.client), refusal(refused))

    async def _work(self, reply: Reply) -> list[bytes]:
        began = time.monotonic()
        self.working = True
        try:
            async with self.worker.starting:
                step = self.worker.loop.run_in_executor(self.worker.pool, reply.step)
                await asyncio.wait([step], timeout=START_SECONDS)
            return await step
        except Exception:
            self.worker.log.exception("the application failed")
            raise Gone from None
        finally:
            self.working = False
            self.pace.excuse(time.monotonic() - began)

    async def _send_pieces(self, pieces: list[bytes]) -> None:
        budget = self.worker.budget
        budget.release(self)  # the request's body
        budget.charge_answer(self, sum(map(len, pieces)))
        for piece in pieces:
            await self._send(piece)
        budget.release(self)

    async def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                sent = self.socket.send(left[: 4 * PIECE])
            except BlockingIOError:
                await self._wait(self.worker.loop.add_writer, self.worker.loop.remove_writer, self.pace.seconds_left)
            else:
                self.pace.move(sent)
                left = left[sent:]

    async def _linger(self) -> None:
        """Let the client read the last answer before the connection is closed (RFC 9112, 9.6).

        A client that is still sending a body would get a connection error instead, so its bytes are read and discarded.
        """
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self._received.clear()
        self.pace = Pace()
        seconds = self.worker.request_timeout if self._unread else LINGER_SECONDS
        deadline = time.monotonic() + seconds
        while True:
            await self._readable(min(self.pace.seconds_left, deadline - time.monotonic()))
            size = len(self.socket.recv(4 * PIECE))
            if not size:
                return
            self.pace.move(size)
            await asyncio.sleep(DISCARD_PAUSE)

    # Waiting.

    async def _readable(self, seconds: float) -> None:
        await self._wait(self.worker.loop.add_reader, self.worker.loop.remove_reader, seconds)

    async def _wait(self, add: Any, remove: Any, seconds: float) -> None:
        """Wait until the socket is ready; raise TimeoutError."""
        ready = self.worker.loop.create_future()
        add(self.socket, _set_ready, ready)
        try:
            async with asyncio.timeout(seconds):
                await ready
        finally:
            remove(self.socket)


def _set_ready(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
