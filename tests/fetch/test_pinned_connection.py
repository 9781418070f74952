"""Pinned connection: deadline, limit of bytes, choice of the address, sent request."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from app.fetch.pinned_connection import Wire, connect, seconds_left, send_request
from app.urls import parse_url
from tests.support.fetching import soon
from tests.support.scripted_server import answer, serving

BODY = bytes(1000)
THIS, OTHER = ip_address("127.0.0.1"), ip_address("127.0.0.2")


def no_tls() -> ssl.SSLContext:
    raise AssertionError("TLS was used")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_seconds_left_are_those_until_the_deadline() -> None:
    assert 0 < seconds_left(soon(), 1000) <= 300


def test_seconds_left_are_limited() -> None:
    assert seconds_left(soon(), 5) == 5


def test_a_deadline_in_the_past_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        seconds_left(time.monotonic() - 1, 5)


def test_reads_stop_at_the_limit_of_bytes(pair: tuple[socket.socket, socket.socket]) -> None:
    wire, buffer = Wire(pair[0], soon(), max_bytes=10), bytearray(10)
    pair[1].sendall(bytes(11))
    assert wire.readinto(buffer) == 10
    with pytest.raises(OSError, match="more bytes than allowed"):
        wire.readinto(buffer)


def test_a_read_after_the_deadline_is_a_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"x")
    with pytest.raises(TimeoutError):
        Wire(pair[0], time.monotonic() - 1, max_bytes=10).readinto(bytearray(1))


def test_a_request_is_sent_and_the_body_read() -> None:
    with serving(answer(BODY)) as (port, heads):
        target = parse_url(f"http://img.example:{port}/a?b")
        with connect(target, [THIS], soon(), no_tls) as connection:
            response = send_request(Wire(connection, soon(), 100_000), target, {"User-Agent": "agent/1"})
            assert (response.status, response.read()) == (200, BODY)
    assert heads[0].startswith(f"GET /a?b HTTP/1.1\r\nHost: img.example:{port}\r\nUser-Agent: agent/1\r\n".encode())


def test_the_next_address_is_tried() -> None:
    with serving(answer(BODY)) as (port, _):
        target = parse_url(f"http://img.example:{port}/")
        with connect(target, [OTHER, THIS], soon(), no_tls) as connection:
            assert connection.getpeername() == (str(THIS), port)


def test_no_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        connect(parse_url("http://img.example/"), [], soon(), no_tls)
