"""One GET request over a connection to an address that was checked before, bounded in bytes and time."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPResponse
from typing import Any, cast

from app.fetch.addresses import IPAddress
from app.urls import Target

__all__ = ["Wire", "connect", "send_get"]

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0


class Wire:
    """What http.client uses as its socket: each read ends by the deadline, and all of them have a most of bytes.

    http.client alone bounds neither: headers and chunks that come byte by byte never run into a socket's timeout.
    """

    def __init__(self, connection: socket.socket, deadline: float, most_bytes: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = most_bytes

    def recv_into(self, buffer: Any) -> int:
        """Read what there is; raise TimeoutError, or OSError when there is more than there may be."""
        self._connection.settimeout(seconds_left(self._deadline, READ_SECONDS))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError("more bytes than an image and its headers may have")
        return count

    def sendall(self, data: bytes) -> None:
        """Send the request; raise TimeoutError."""
        self._connection.settimeout(seconds_left(self._deadline, READ_SECONDS))
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that http.client reads the answer from."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Do nothing: http.client closes its socket before it reads the body, and we close the connection after it."""


class _Reader(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.recv_into(buffer)


def seconds_left(deadline: float, most: float) -> float:
    """Return the seconds up to a moment of time.monotonic(), at most `most`; raise TimeoutError when there are none."""
    left = min(most, deadline - time.monotonic())
    if left <= 0:
        raise TimeoutError("the time is up")
    return left


def connect(
    target: Target, addresses: Sequence[IPAddress], deadline: float, tls: Callable[[], ssl.SSLContext]
) -> socket.socket:
    """Connect to the first of the addresses that answers; raise OSError.

    The name is not looked up again; TLS asks for it and checks the certificate against it.
    """
    connection = _first(addresses, target.port, deadline)
    if target.scheme == "http":
        return connection
    try:
        connection.settimeout(seconds_left(deadline, CONNECT_SECONDS))
        return tls().wrap_socket(connection, server_hostname=target.host)
    except BaseException:
        connection.close()
        raise


def _first(addresses: Sequence[IPAddress], port: int, deadline: float) -> socket.socket:
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), seconds_left(deadline, CONNECT_SECONDS))
        except OSError as error:
            failure = error
    raise failure


def send_get(wire: Wire, target: Target, user_agent: str) -> HTTPResponse:
    """Send the request and read the head of the answer; raise OSError or HTTPException."""
    connection = HTTPConnection(target.host, target.port)
    connection.auto_open = 0  # never connect by itself, which would look the name up again
    connection.sock = cast(socket.socket, wire)
    connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
    headers = {
        "Host": target.authority,
        "User-Agent": user_agent,
        "Accept": "image/*, */*;q=0.1",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()
