"""Heads of requests: gunicorn's parser for received bytes, and errors for requests that it refuses."""

from __future__ import annotations

from typing import Any

from gunicorn.http import errors as refused
from gunicorn.http import get_parser
from gunicorn.http.body import ChunkedReader, LengthReader

from app.errors import HeadersTooLarge, MalformedRequest, NotImplementedHere, ServiceError, UriTooLong
from app.server.bodies import ChunkedBody, LengthBody

__all__ = ["MAX_HEAD", "body_of", "head_size", "parse_head", "refusal", "unreadable"]

# Bytes of a request line and all headers; gunicorn's own limits allow 800 kB, too much for 1,000 connections.
MAX_HEAD = 65_536
END = b"\r\n\r\n"
# Substitute for an unreadable request, so that its refusal is answered and logged like others.
UNREADABLE = b"GET /unreadable-request HTTP/1.1\r\nHost: unknown\r\nConnection: close\r\n\r\n"


def head_size(received: bytearray, searched: int = 0) -> int:
    """Return the size of the head in bytes, 0 while it is incomplete."""
    return received.find(END, max(0, searched - 3)) + len(END) if END in received[max(0, searched - 3) :] else 0


def parse_head(config: Any, head: bytes, client: Any) -> Any:
    """Return gunicorn's request; raise one of its exceptions."""
    return next(get_parser(config, [head], client))


def unreadable(config: Any, client: Any) -> Any:
    """Return the substitute for an unreadable request."""
    return parse_head(config, UNREADABLE, client)


def body_of(request: Any, limit: int) -> LengthBody | ChunkedBody | None:
    """Return the decoder of a request's body; None without one."""
    reader = request.body.reader
    if isinstance(reader, ChunkedReader):
        return ChunkedBody(limit)
    return LengthBody(reader.length) if isinstance(reader, LengthReader) and reader.length else None


def refusal(error: Exception) -> ServiceError:
    """Return gunicorn's refusal of a request as an error of this service."""
    if isinstance(error, refused.LimitRequestLine):
        return UriTooLong()
    if isinstance(error, refused.LimitRequestHeaders | refused.NoMoreData):
        return HeadersTooLarge()
    if isinstance(error, refused.UnsupportedTransferCoding):
        return NotImplementedHere("The Transfer-Encoding is not supported.", solution="Send 'chunked' or none.")
    return MalformedRequest(details=str(error)[:200])
