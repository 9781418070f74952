"""Servers on loopback with scripted responses, byte for byte."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Script", "answer", "serving"]

Script = Callable[[socket.socket], None]


def answer(body: bytes = b"", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """Return an HTTP response as bytes."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@contextmanager
def serving(script: Script | bytes, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Serve connections one by one with a script or a fixed response; yield the port and the received heads."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, script, tls, heads), daemon=True).start()
        try:
            yield int(listener.getsockname()[1]), heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, script: Script | bytes, tls: ssl.SSLContext | None, heads: list[bytes]) -> None:
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        with connection, suppress(OSError):  # the client under test may disconnect at any time
            secure = tls.wrap_socket(connection, server_side=True) if tls else connection
            with secure:
                heads.append(_read_head(secure))
                _play(script, secure)


def _play(script: Script | bytes, connection: socket.socket) -> None:
    if isinstance(script, bytes):
        connection.sendall(script)
    else:
        script(connection)


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)  # a body after it is for the script
        if not piece:
            break
        head += piece
    return head
