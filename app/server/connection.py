"""One connection: it receives requests and sends answers; no thread waits for a client, except for streamed bodies.

Everything here runs in the event loop, except for the application, which gets a request after its body is complete. A
body of `Host.streamed` is received while the application reads it, and an answer of `Flush` pieces is sent while the
application waits for events.
"""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from gunicorn.http.errors import NoMoreData, ParseException

from app.errors import DeadlineExceeded, ServiceError
from app.server.bodies import (
    BodyStream,
    ChunkedBody,
    IncompleteBody,
    LengthBody,
    MalformedBody,
    OversizedBody,
    body_error,
)
from app.server.environ import ARRIVAL, CONTINUE, ERROR
from app.server.flush import AnswerCut
from app.server.heads import MAX_HEAD, body_of, head_size, parse_head, refusal, unreadable
from app.server.pace import Pace
from app.server.reply import Reply
from app.server.transport import ClientGone, Transport, TransportHost
from app.server.uploads import Upload, Uploads

__all__ = ["Connection", "Host"]

# Seconds for a complete head.
HEAD_SECONDS = 10.0
# Bytes to read at once of a head; few, because the start of a body among them takes memory without waiting for room.
HEAD_PIECE = 4_096
# Seconds for which a request counts as starting; a longer one waits for an engine or another server.
START_SECONDS = 0.01


class Host(TransportHost, Protocol):
    """The worker as a connection sees it."""

    pool: ThreadPoolExecutor
    starting: asyncio.Semaphore
    stopping: asyncio.Event
    uploads: Uploads
    max_body: int
    streamed: Mapping[tuple[str, str], int]
    cfg: Any
    log: Any
    wsgi: Any
    address: Any

    def forget(self, connection: Connection) -> None:
        """Remove a connection that ends."""

    def keeps_alive(self) -> bool:
        """Return whether a connection may be used for another request, and count this one."""


class Connection(Transport):
    """Connection of a client."""

    def __init__(self, worker: Host, connected: socket.socket, client: Any) -> None:
        super().__init__(worker, connected)
        self.worker, self.client = worker, client
        self.idle = True  # between two requests
        self._unread = False  # the client may still be sending an unused body
        self._first = True
        self._upload: Upload | None = None
        self._task = worker.loop.create_task(self._run())
        self._task.add_done_callback(self._end)

    def close(self) -> None:
        """Close at once."""
        self.budget.release(self)
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while await self._serve_next():
                pass
            await self.linger(unread=self._unread)
        except (ClientGone, TimeoutError, OSError, asyncio.CancelledError):
            pass
        except Exception:
            self.worker.log.exception("connection failed")

    def _end(self, _task: asyncio.Task[None]) -> None:
        self.budget.release(self)
        self.worker.forget(self)
        self.socket.close()

    async def _serve_next(self) -> bool:
        """Answer one request; return whether another may follow."""
        head = await self._head()
        arrival = time.monotonic()
        body: io.RawIOBase = BodyStream()
        error: ServiceError | None
        try:
            request = parse_head(self.worker.cfg, head, self.client)
        except (ParseException, StopIteration, NoMoreData) as refused:
            request, error = unreadable(self.worker.cfg, self.client), refusal(refused)
            self._unread = True
        else:
            body, error = await self._body(request, arrival)
        try:
            return await self._answer(request, body, arrival, error)
        finally:
            if self._upload is not None:
                await self._upload.end()
                self._unread = not self._upload.body.complete
                self._upload = None

    # Receiving.

    async def _head(self) -> bytes:
        """Return a request's head; raise ClientGone at the end of the connection, or TimeoutError."""
        self.pace, self.idle = Pace(), not self.received
        searched = 0
        kept_alive, self._first = self.idle and not self._first, False
        deadline = time.monotonic() + (self.worker.cfg.keepalive if kept_alive else HEAD_SECONDS)
        while not (size := head_size(self.received, searched)):
            if len(self.received) >= MAX_HEAD:
                return self._take_head(len(self.received))
            searched = len(self.received)
            if not await self.receive(deadline - time.monotonic(), HEAD_PIECE):
                raise ClientGone
            if self.idle:
                self.idle = False
                deadline = time.monotonic() + HEAD_SECONDS
        return self._take_head(size)

    def _take_head(self, size: int) -> bytes:
        head = bytes(self.received[:size])
        del self.received[:size]
        self.budget.release(self, min(size, self.held))
        return head

    async def _body(self, request: Any, arrival: float) -> tuple[io.RawIOBase, ServiceError | None]:
        """Return the body, whole except for a streamed one, and the error of an unusable one."""
        streamed = self.worker.streamed.get((request.method, request.path))
        limit = self.worker.max_body if streamed is None else streamed
        body = body_of(request, limit)
        if body is None:
            return BodyStream(), None
        self.pace = Pace()
        self._unread = True
        waits = request._expected_100_continue
        if streamed is not None:
            self._upload = Upload(self, body, limit, self.worker.uploads, waits=waits)
            return self._upload, None
        if isinstance(body, LengthBody) and body.remaining > limit:
            return BodyStream(), None  # for the application to refuse
        if waits and not self.received:
            await self.send(CONTINUE)
        return await self._whole_body(body, arrival + self.worker.request_timeout)

    async def _whole_body(
        self, body: LengthBody | ChunkedBody, deadline: float
    ) -> tuple[io.RawIOBase, ServiceError | None]:
        pieces: list[bytes] = []
        try:
            await self._read_body(body, deadline, pieces)
        except (MalformedBody, OversizedBody, TimeoutError) as error:
            return BodyStream(pieces), body_error(error, self.worker.max_body)
        except DeadlineExceeded as error:
            return BodyStream(pieces), error
        self._unread = not body.complete
        return BodyStream(pieces), None

    async def _read_body(self, body: LengthBody | ChunkedBody, deadline: float, pieces: list[bytes]) -> None:
        """Read the body into `pieces`; raise MalformedBody, OversizedBody, DeadlineExceeded or TimeoutError."""
        while True:
            pieces += body.feed(self.received)
            if body.complete:
                return
            await self.readable(min(self.pace.seconds_left, deadline - time.monotonic()))
            await self._room(body.remaining, deadline)
            if not await self.receive(1):
                raise IncompleteBody

    async def _room(self, remaining: int, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self.budget.room(self, remaining)
        except TimeoutError:
            raise DeadlineExceeded(details="The deadline passed before the image could be read.") from None

    # Answering.

    async def _answer(self, request: Any, body: io.RawIOBase, arrival: float, error: ServiceError | None) -> bool:
        """Run the application and send its answer; return whether another request may follow."""
        reply, error = self._reply(request, error)
        reply.environ |= {"wsgi.input": body, "gunicorn.socket": self.socket, ARRIVAL: arrival}
        if error is not None:
            reply.environ[ERROR] = error
        if self._unread or error is not None or not self.worker.keeps_alive():
            reply.response.force_close()
        self.pace = Pace()
        try:
            while not reply.ended:
                await self._send_pieces(await self._work(reply))
                if reply.pause:
                    await self._pause(reply)
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

    async def _work(self, reply: Reply) -> list[bytes | bytearray]:
        pace, began = self.pace, time.monotonic()
        self.working = True
        try:
            async with self.worker.starting:
                step = self.worker.loop.run_in_executor(self.worker.pool, reply.step)
                await asyncio.wait([step], timeout=START_SECONDS)
            return await step
        except AnswerCut:
            raise ClientGone from None
        except Exception:
            self.worker.log.exception("the application failed")
            raise ClientGone from None
        finally:
            self.working = False
            self.pace = pace  # an upload has its own
            pace.excuse(time.monotonic() - began)

    async def _send_pieces(self, pieces: list[bytes | bytearray]) -> None:
        self.budget.release(self)  # the request's body
        self.budget.charge_answer(self, sum(map(len, pieces)))
        for piece in pieces:
            await self.send(piece)
        self.budget.release(self)

    async def _pause(self, reply: Reply) -> None:
        """Wait for the next event of an answer; the last step follows when the worker stops."""
        if not self.worker.stopping.is_set():
            await self.pause(reply.pause)
        reply.cut = self.worker.stopping.is_set()
        self.pace = Pace()
