"""Request over a connection to a checked address, with limits of bytes and time."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPResponse
from typing import Any, cast

from app.fetch.addresses import IPAddress
from app.urls import Target

__all__ = ["Wire", "connect", "seconds_left", "send_request"]

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0


class Wire(io.RawIOBase):
    """Socket for http.client with a deadline for each read and a limit of bytes for all reads.

    http.client has neither: headers or chunks that arrive byte by byte never reach a socket's timeout.
    """

    def __init__(self, connection: socket.socket, deadline: float, max_bytes: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._bytes_left = max_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read available bytes; raise TimeoutError, or OSError above the limit of bytes."""
        self._connection.settimeout(seconds_left(self._deadline, READ_SECONDS))
        count = self._connection.recv_into(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise OSError("more bytes than allowed")
        return count

    def sendall(self, data: bytes) -> None:
        """Send the request; raise TimeoutError."""
        self._connection.settimeout(seconds_left(self._deadline, READ_SECONDS))
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file from which http.client reads the response."""
        return io.BufferedReader(self)

    def close(self) -> None:
        """Do nothing: http.client closes its socket before it reads the body; the caller closes the connection."""


def seconds_left(deadline: float, max_seconds: float) -> float:
    """Return the seconds until `deadline` (time.monotonic()), at most `max_seconds`; raise TimeoutError if past."""
    left = min(max_seconds, deadline - time.monotonic())
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


def connect(
    target: Target, addresses: Sequence[IPAddress], deadline: float, tls: Callable[[], ssl.SSLContext]
) -> socket.socket:
    """Connect to the first address that answers; raise OSError.

    The host name is not looked up again; TLS sends it (SNI) and checks the certificate against it.
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


def send_request(
    wire: Wire, target: Target, headers: Mapping[str, str], method: str = "GET", body: bytes = b""
) -> HTTPResponse:
    """Send a request with these headers and read the head of the response; raise OSError or HTTPException."""
    connection = HTTPConnection(target.host, target.port)
    connection.auto_open = 0  # never reconnect, which would look the name up again
    connection.sock = cast(socket.socket, wire)
    connection.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": target.authority, **headers, "Connection": "close"}.items():
        connection.putheader(name, value)
    connection.endheaders(body or None)
    return connection.getresponse()
