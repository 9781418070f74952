"""Bodies that the application reads while they arrive: their input stream, and their maximum number.

The application's thread asks for bytes, and the event loop receives them. Nothing is read ahead: at most one piece is
in memory, and the client's system keeps the rest.
"""

from __future__ import annotations

import asyncio
import io
import time
from concurrent.futures import CancelledError, Future
from threading import Lock

from app.errors import QueueFull, RequestTimeout, ServiceError, ShuttingDown
from app.server.bodies import ChunkedBody, IncompleteBody, LengthBody, MalformedBody, OversizedBody, body_error
from app.server.environ import CONTINUE
from app.server.pace import Pace
from app.server.transport import Transport

__all__ = ["MAX_UPLOADS", "Upload", "Uploads"]

# Bodies of a worker that arrive at the same time; each holds a thread.
MAX_UPLOADS = 4
RETRY_SECONDS = 10
FASTER = "Use a faster connection, or send fewer images at once."


class Uploads:
    """Uploads in progress; each has a place from its first read to the end of its body.

    A further one is refused, not kept waiting: it would hold a thread, and its client can wait without a connection. An
    upload that stalls gives its place to a further one, so that slow clients block nobody.
    """

    def __init__(self, limit: int = MAX_UPLOADS) -> None:
        self.limit = limit
        self._current: set[Upload] = set()

    def enter(self, upload: Upload) -> None:
        """Take a place; raise QueueFull."""
        if len(self._current) >= self.limit and not self._end_stalled():
            raise QueueFull(
                f"{self.limit} uploads are in progress, the maximum.",
                solution="Retry after the number of seconds in Retry-After.",
                retry_after=RETRY_SECONDS,
            )
        self._current.add(upload)

    def leave(self, upload: Upload) -> None:
        """Give back the place."""
        self._current.discard(upload)

    def _end_stalled(self) -> bool:
        """End the slowest stalled upload; return whether there was one."""
        slowest = min((each for each in self._current if each.stalled), key=lambda each: each.pace.rate, default=None)
        if slowest is None:
            return False
        self.leave(slowest)
        slowest.stop(RequestTimeout("The upload was too slow while others waited.", solution=FASTER))
        return True


class Upload(io.RawIOBase):
    """`wsgi.input` of a body that arrives while the application reads it."""

    def __init__(
        self, transport: Transport, body: LengthBody | ChunkedBody, limit: int, uploads: Uploads, *, waits: bool
    ) -> None:
        """Create the stream of a body of at most `limit` bytes, of a client that may wait for `100 Continue`."""
        self.body, self.pace = body, Pace()
        self._transport, self._limit, self._uploads, self._waits = transport, limit, uploads, waits
        self._began, self._returned = False, self.pace.started
        self._left = memoryview(b"")  # received, not yet read by the application
        self._lock = Lock()
        self._pending: Future[bytes] | None = None
        self._task: asyncio.Task[bytes] | None = None
        self._error: ServiceError | None = None

    # In the application's thread.

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any writable buffer
        """Wait for bytes and fill the buffer with them.

        Raise MalformedRequest, FileTooLarge, RequestTimeout, QueueFull and ShuttingDown.
        """
        if not self._left:
            self._left = memoryview(self._next())
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def _next(self) -> bytes:
        with self._lock:
            if self._error is not None:
                raise self._error
            self._pending = asyncio.run_coroutine_threadsafe(self._receive(), self._transport.loop)
        try:
            return self._pending.result()
        except CancelledError:
            raise self._error or ShuttingDown() from None
        finally:
            self._pending = None

    # In the event loop.

    @property
    def stalled(self) -> bool:
        """Return whether the application waits for a client that sends nothing, or too little."""
        return self._pending is not None and self.pace.stalled

    def stop(self, error: ServiceError) -> None:
        """Raise an error in the application's read, and in later ones."""
        with self._lock:
            self._error = self._error or error
            pending = self._pending
        if pending is not None:
            pending.cancel()
        self._uploads.leave(self)

    async def end(self) -> None:
        """Stop, and wait until nothing waits for the socket any more."""
        self.stop(ShuttingDown())
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _receive(self) -> bytes:
        """Return the next bytes of the body; none at its end."""
        self._task = asyncio.current_task()
        self._transport.pace = self.pace
        self.pace.excuse(time.monotonic() - self._returned)
        try:
            if not self._began:
                await self._begin()
            return await self._decoded()
        except (MalformedBody, OversizedBody, TimeoutError, OSError) as error:
            self._error = body_error(error, self._limit)
            raise self._error from None
        finally:
            self._returned = time.monotonic()
            if self.body.complete or self._error is not None:
                self._uploads.leave(self)

    async def _begin(self) -> None:
        """Begin the body at the first read, so that the application can refuse it before it is sent."""
        if self.body.remaining > self._limit:
            raise OversizedBody
        self._uploads.enter(self)
        self._began = True
        if self._waits and not self._transport.received:
            await self._transport.send(CONTINUE)

    async def _decoded(self) -> bytes:
        transport, body = self._transport, self.body
        while not body.complete:
            pieces = body.feed(transport.received)
            transport.budget.release(transport, transport.held - len(transport.received))
            if pieces:
                return b"".join(pieces)
            if not body.complete and not await transport.receive(self.pace.seconds_left):
                raise IncompleteBody
        return b""
