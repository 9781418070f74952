"""Bodies of requests: decoders of received bytes, and the input stream of the application."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable

from gunicorn.http.body import CHUNK_EXT_RE

from app.errors import FileTooLarge, MalformedRequest, RequestTimeout, ServiceError

__all__ = [
    "BodyStream",
    "ChunkedBody",
    "IncompleteBody",
    "LengthBody",
    "MalformedBody",
    "OversizedBody",
    "body_error",
]

# Bytes of a chunk's size line and of all trailers.
MAX_LINE, MAX_TRAILERS = 1_024, 8_192
# Bytes of framing (size lines and trailers) allowed beyond the bytes of data: 1-byte chunks cost 3 s of CPU per MB.
FREE_FRAMING = 65_536
HEX = frozenset(b"0123456789abcdefABCDEF")


class MalformedBody(Exception):
    """The body breaks RFC 9112; where the next request starts is unknown."""


class IncompleteBody(MalformedBody):
    """The client has closed the connection, or its sending half, within the body."""

    def __str__(self) -> str:
        return "the body ended before its announced end"


class OversizedBody(Exception):
    """The body has more bytes than the limit."""


def body_error(error: MalformedBody | OversizedBody | OSError, limit: int) -> ServiceError:
    """Return the error of this service for a body that can't be read; `limit` is its maximum number of bytes."""
    if isinstance(error, OversizedBody):
        return FileTooLarge(
            f"The request's body has more than {limit} bytes.", solution=f"Send a body of at most {limit} bytes."
        )
    if isinstance(error, TimeoutError):
        return RequestTimeout()
    return MalformedRequest(details=str(error if isinstance(error, MalformedBody) else IncompleteBody()))


class LengthBody:
    """Decoder of a body with a Content-Length."""

    def __init__(self, length: int) -> None:
        self.remaining = length

    @property
    def complete(self) -> bool:
        """Return whether the whole body was received."""
        return not self.remaining

    def feed(self, received: bytearray) -> list[bytes]:
        """Remove the body's bytes from those received and return them."""
        data = bytes(received[: self.remaining])
        del received[: self.remaining]
        self.remaining -= len(data)
        return [data] if data else []


class ChunkedBody:
    """Decoder of a body with Transfer-Encoding: chunked (RFC 9112, 7.1) of at most `limit` bytes.

    gunicorn 27's own reads from a blocking socket, so it can't be used here.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.complete = False
        self._left: int | None = None  # bytes of the current chunk and its line end; None: a size line is next
        self._trailers: int | None = None  # bytes of trailers so far; None: before the last chunk
        self._data = self._framing = 0

    @property
    def remaining(self) -> int:
        """Return the maximum number of bytes still to be received."""
        return max(0, self.limit - self._data)

    def feed(self, received: bytearray) -> list[bytes]:
        """Remove complete parts from the bytes received and return the data; raise MalformedBody or OversizedBody."""
        pieces: list[bytes] = []
        at = 0
        while not self.complete:
            after = self._step(received, at, pieces)
            if after == at:
                break
            at = after
        del received[:at]
        return pieces

    def _step(self, received: bytearray, at: int, pieces: list[bytes]) -> int:
        """Read the part at `at` and return the position of the next one, `at` itself if the part is incomplete."""
        if self._left is not None and self._left > 2:
            data = bytes(received[at : at + self._left - 2])
            if data:
                pieces.append(data)
            self._data += len(data)
            self._left -= len(data)
            return at + len(data)
        end = received.find(b"\n", at, at + MAX_LINE)
        if end < 0:
            if len(received) - at >= MAX_LINE:
                raise MalformedBody("a line of the chunked body is too long")
            return at
        line = received[at : end + 1]
        if line[-2:] != b"\r\n":
            raise MalformedBody("bare LF as line terminator")
        self._count_framing(len(line))
        self._read_line(bytes(line[:-2]))
        return end + 1

    def _count_framing(self, size: int) -> None:
        self._framing += size
        if self._framing > self._data + FREE_FRAMING:
            raise MalformedBody("the chunks are too small")

    def _read_line(self, line: bytes) -> None:
        if self._trailers is not None:
            self._trailers += len(line)
            if self._trailers > MAX_TRAILERS:
                raise MalformedBody("the trailers are too long")
            self.complete = not line
        elif self._left is not None:
            if line:
                raise MalformedBody("a chunk is longer than its size")
            self._left = None
        else:
            size = _chunk_size(line)
            if size > self.remaining:
                raise OversizedBody
            self._trailers, self._left = (None, size + 2) if size else (0, None)


def _chunk_size(line: bytes) -> int:
    digits, semicolon, extension = line.partition(b";")
    if semicolon:
        digits = digits.rstrip(b" \t")
        if b"\r" in extension or not CHUNK_EXT_RE.fullmatch(b";" + extension):
            raise MalformedBody("invalid chunk extension")
    if not 0 < len(digits) <= 16 or not HEX.issuperset(digits):
        raise MalformedBody("invalid chunk size")
    return int(digits, 16)


class BodyStream(io.RawIOBase):
    """`wsgi.input` of a body in memory, which is released as it is read."""

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        self._pieces = deque(pieces)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any writable buffer
        """Fill the buffer from the first piece."""
        if not self._pieces:
            return 0
        piece = self._pieces.popleft()
        size = min(len(buffer), len(piece))
        buffer[:size] = piece[:size]
        if size < len(piece):
            self._pieces.appendleft(piece[size:])
        return size

    def readall(self) -> bytes:
        """Return the rest."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole
