"""POST to URLs, for webhooks."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from app.errors import UrlRefused
from app.fetch.url_fetcher import USER_AGENT
from tests.support.fetching import (
    fetcher,
    soon,
)
from tests.support.scripted_server import Script, answer, serving


def post(script: Script | bytes, body: bytes = b"{}", **options: Any) -> tuple[int, list[bytes]]:
    with serving(script) as (port, heads):
        headers = {"Content-Type": "application/json"}
        return fetcher(port, **options).post(f"http://img.example:{port}/hook?a=b", body, headers, soon()), heads


def test_a_post_sends_its_headers_and_body() -> None:
    received = list[bytes]()

    def script(connection: socket.socket) -> None:
        while sum(map(len, received)) < 300_000:
            received.append(connection.recv(65_536))
        connection.sendall(answer(b"", "204 No Content"))

    status, heads = post(script, b"x" * 300_000)
    assert status == 204
    assert b"".join(received) == b"x" * 300_000
    lines = heads[0].decode().split("\r\n")
    assert lines[0] == "POST /hook?a=b HTTP/1.1"
    assert {"Content-Type: application/json", "Content-Length: 300000", f"User-Agent: {USER_AGENT}"} < set(lines)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops"])
def test_a_post_returns_any_status(status: str) -> None:
    assert post(answer(b"", status))[0] == int(status[:3])


def test_a_post_follows_no_redirect() -> None:
    status, heads = post(answer(b"", "307 Temporary Redirect", "Location: http://inside.example/"))
    assert status == 307
    assert len(heads) == 1


@pytest.mark.parametrize(
    "url", ["http://inside.example:{}/", "http://10.0.0.1/", "http://unlisted.example/", "ftp://x/"]
)
def test_a_post_to_an_address_that_is_not_allowed_is_refused(url: str) -> None:
    with serving(answer()) as (port, heads):
        with pytest.raises(UrlRefused):
            fetcher(port).post(url.format(port), b"", {}, soon())
        assert heads == []


@pytest.mark.parametrize("script", [b"", b"not http\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3_000_000])
def test_a_post_without_a_valid_answer_is_an_error(script: bytes) -> None:
    with pytest.raises(OSError):
        post(script)


def test_a_post_to_a_silent_server_ends_at_its_deadline() -> None:
    over = threading.Event()

    def script(_: socket.socket) -> None:
        over.wait()

    with serving(script) as (port, _), pytest.raises(TimeoutError):
        fetcher(port).post(f"http://img.example:{port}/", b"", {}, time.monotonic() + 0.3)
    over.set()
