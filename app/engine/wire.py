"""Messages over a socket pair: a JSON header and raw blobs, so that images are neither pickled nor escaped.

Frame: two big-endian unsigned 32-bit numbers (bytes of the header, number of blobs), the header as JSON, then each blob
after its length as an unsigned 64-bit number. JSON, not pickle: an engine's message must not run code.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

__all__ = ["receive", "send"]

FRAME = struct.Struct("!II")
BLOB = struct.Struct("!Q")
MAX_HEADER = 1 << 20
MAX_BLOBS = 4
MAX_BLOB = 1 << 30


def send(
    sock: socket.socket, header: dict[str, Any], blobs: Sequence[bytes] = (), deadline: float | None = None
) -> None:
    """Send one message.

    `deadline` is in monotonic seconds, None for no limit. Raise TimeoutError at the deadline, OSError when the
    connection is closed.
    """
    text = json.dumps(header, separators=(",", ":")).encode()
    _send_all(sock, FRAME.pack(len(text), len(blobs)) + text, deadline)
    for blob in blobs:
        _send_all(sock, BLOB.pack(len(blob)), deadline)
        _send_all(sock, blob, deadline)


def receive(sock: socket.socket, deadline: float | None = None) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one message as (header, blobs).

    Raise TimeoutError at `deadline`, EOFError when the connection is closed, ValueError for an invalid message.
    """
    header_size, count = FRAME.unpack(_receive_exactly(sock, FRAME.size, deadline))
    if header_size > MAX_HEADER or count > MAX_BLOBS:
        raise ValueError("header or number of blobs exceeds the limit")
    header = json.loads(_receive_exactly(sock, header_size, deadline))
    if not isinstance(header, dict):
        raise ValueError("header is not a JSON object")
    return header, [_receive_blob(sock, deadline) for _ in range(count)]


def _receive_blob(sock: socket.socket, deadline: float | None) -> bytes:
    (size,) = BLOB.unpack(_receive_exactly(sock, BLOB.size, deadline))
    if size > MAX_BLOB:
        raise ValueError("blob exceeds the limit")
    return bytes(_receive_exactly(sock, size, deadline))


def _send_all(sock: socket.socket, data: bytes, deadline: float | None) -> None:
    _set_timeout(sock, deadline)
    sock.sendall(data)


def _receive_exactly(sock: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        _set_timeout(sock, deadline)
        received = sock.recv_into(view)
        if not received:
            raise EOFError("connection closed")
        view = view[received:]
    return data


def _set_timeout(sock: socket.socket, deadline: float | None) -> None:
    """Set the socket's timeout to the time left; a timeout of 0 would mean non-blocking."""
    if deadline is None:
        sock.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline passed")
    sock.settimeout(left)
