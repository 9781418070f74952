"""Protocol between web process and engine: messages, deadlines, and invalid data."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from app.engine import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("blobs", [[], [b""], [b"abc"], [b"x" * 3_000_000, b"", b"y"]], ids=len)
def test_a_message_arrives_unchanged(blobs: list[bytes], pair: Pair) -> None:
    sender = threading.Thread(target=wire.send, args=(pair[0], {"op": "remove", "ü": 1}, blobs))
    sender.start()
    assert wire.receive(pair[1]) == ({"op": "remove", "ü": 1}, blobs)
    sender.join()


def test_a_closed_connection_is_end_of_file(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive(pair[1])


def test_an_incomplete_message_is_end_of_file(pair: Pair) -> None:
    pair[0].sendall(wire.FRAME.pack(100, 0) + b"{")
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive(pair[1])


@pytest.mark.parametrize("seconds", [-1.0, 0.05])
def test_receiving_stops_at_the_deadline(seconds: float, pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        wire.receive(pair[1], time.monotonic() + seconds)


def test_sending_stops_at_the_deadline(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        wire.send(pair[0], {}, [b"x" * 50_000_000], time.monotonic() + 0.1)


@pytest.mark.parametrize(
    "data",
    [
        wire.FRAME.pack(wire.MAX_HEADER + 1, 0),
        wire.FRAME.pack(2, wire.MAX_BLOBS + 1),
        wire.FRAME.pack(2, 0) + b"[]",
        wire.FRAME.pack(2, 0) + b"{]",
        wire.FRAME.pack(2, 1) + b"{}" + struct.pack("!Q", wire.MAX_BLOB + 1),
    ],
)
def test_an_invalid_message_is_refused(data: bytes, pair: Pair) -> None:
    pair[0].sendall(data)
    with pytest.raises(ValueError):
        wire.receive(pair[1])
