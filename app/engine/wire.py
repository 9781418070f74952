"""Messages over a socket pair: a JSON header and raw blobs, so that megabytes are never pickled or escaped.

Frame: two big-endian unsigned 32-bit numbers (bytes of the header, number of blobs), the header as JSON, then each blob
behind its length as an unsigned 64-bit number. JSON, because what comes out of an engine must not be able to run code.
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

    `deadline` is a `time.monotonic()` instant, None for no limit. Raise TimeoutError past it, OSError when the other
    side is gone.
    """
    text = json.dumps(header, separators=(",", ":")).encode()
    _send_all(sock, FRAME.pack(len(text), len(blobs)) + text, deadline)
    for blob in blobs:
        _send_all(sock, BLOB.pack(len(blob)), deadline)
        _send_all(sock, blob, deadline)


def receive(sock: socket.socket, deadline: float | None = None) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one message as (header, blobs).

    Raise TimeoutError past `deadline`, EOFError when the other side is gone, ValueError when what came is no message.
    """
    header_size, count = FRAME.unpack(_receive_exactly(sock, FRAME.size, deadline))
    if header_size > MAX_HEADER or count > MAX_BLOBS:
        raise ValueError("a frame announces more than any message holds")
    header = json.loads(_receive_exactly(sock, header_size, deadline))
    if not isinstance(header, dict):
        raise ValueError("a header is not an object")
    return header, [_receive_blob(sock, deadline) for _ in range(count)]


def _receive_blob(sock: socket.socket, deadline: float | None) -> bytes:
    (size,) = BLOB.unpack(_receive_exactly(sock, BLOB.size, deadline))
    if size > MAX_BLOB:
        raise ValueError("a blob is larger than any message holds")
    return bytes(_receive_exactly(sock, size, deadline))


def _send_all(sock: socket.socket, data: bytes, deadline: float | None) -> None:
    _arm(sock, deadline)
    sock.sendall(data)


def _receive_exactly(sock: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        _arm(sock, deadline)
        received = sock.recv_into(view)
        if not received:
            raise EOFError("the other side is gone")
        view = view[received:]
    return data


def _arm(sock: socket.socket, deadline: float | None) -> None:
    """Set the socket's timeout to what is left; a timeout of 0 would mean non-blocking."""
    if deadline is None:
        sock.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("deadline passed")
    sock.settimeout(left)
