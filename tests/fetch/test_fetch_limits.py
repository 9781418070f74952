"""Fetches from URLs: limits of bytes and time, unusable responses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings, strategies

from app.errors import DownloadFailed, FileTooLarge, ServiceError, UrlRefused
from app.fetch.url_fetcher import MAX_LOOKUPS, UrlFetcher
from app.settings import Settings
from tests.support.fetching import (
    HEAD,
    IMAGE,
    MAX_BYTES,
    REDIRECT,
    Names,
    fetch,
    fetcher,
    silent,
    soon,
)
from tests.support.scripted_server import Script, answer, serving
from tests.support.service import closed_port

# Limit of bytes


def test_an_image_of_exactly_the_limit_is_fetched() -> None:
    assert fetch(answer(bytes(MAX_BYTES))) == bytes(MAX_BYTES)


def test_a_declared_length_over_the_limit_is_refused() -> None:
    with pytest.raises(FileTooLarge):
        fetch(answer(b"", length=MAX_BYTES + 1))


def chunks(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(10_000))


@pytest.mark.parametrize(
    "script", [chunks, endless, answer(bytes(MAX_BYTES + 1))], ids=["chunks", "endless", "declared"]
)
def test_a_body_over_the_limit_is_refused(script: Script | bytes) -> None:
    with pytest.raises(FileTooLarge):
        fetch(script)


def test_chunks_are_joined() -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(IMAGE[i : i + 99]), IMAGE[i : i + 99]) for i in range(0, len(IMAGE), 99))
    assert fetch(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n") == IMAGE


def repeated(start: bytes, piece: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)

    return script


@pytest.mark.parametrize(
    "script",
    [
        repeated(HEAD, b"X-A: b\r\n"),
        repeated(HEAD + b"X-A: ", b"b" * 1000),
        repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        repeated(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 60_000 + b"\r\na\r\n"),
        repeated(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X-A: b\r\n"),
        repeated(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 1000),
    ],
    ids=["headers", "header", "continue", "extensions", "trailers", "chunk size"],
)
def test_headers_and_framing_have_a_limit_too(script: Script) -> None:
    with pytest.raises(DownloadFailed):
        fetch(script)


# Limit of time


def drip(start: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"1")
            time.sleep(0.02)

    return script


DRIPS = {
    "status": drip(b"HTTP/1.1 "),
    "header": drip(HEAD + b"X-A: "),
    "body": drip(HEAD + b"Content-Length: 50000\r\n\r\n"),
    "chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\nc350\r\n"),
    "chunk size": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "open end": drip(HEAD + b"\r\n"),
}


@pytest.mark.parametrize("script", DRIPS.values(), ids=DRIPS)
def test_a_slow_response_ends_at_the_deadline(script: Script) -> None:
    with pytest.raises(DownloadFailed, match="too long"):
        fetch(script, within=0.3)


def test_a_fetch_has_its_own_time_limit() -> None:
    with pytest.raises(DownloadFailed, match="too long"):
        fetch(DRIPS["open end"], within=3600, seconds=0.3)


def test_redirects_share_one_deadline() -> None:
    def script(connection: socket.socket) -> None:
        time.sleep(0.2)
        connection.sendall(answer(b"", REDIRECT, "Location: /a.png"))

    with pytest.raises(DownloadFailed, match="too long"):
        fetch(script, within=0.5)


def test_a_silent_server_is_given_up() -> None:
    with pytest.raises(DownloadFailed, match="too long"):
        fetch(silent, within=0.3)


def test_no_connection_is_made_after_the_deadline() -> None:
    with serving(answer(IMAGE)) as (port, heads):
        with pytest.raises(DownloadFailed, match="too long"):
            fetcher(port).fetch(f"http://img.example:{port}/", time.monotonic() - 1)
        assert heads == []


def test_a_slow_lookup_is_given_up() -> None:
    done = threading.Event()

    def resolve(host: str) -> Sequence[str]:
        done.wait()
        return ["127.0.0.1"]

    with pytest.raises(DownloadFailed, match="too long"):
        fetch(answer(IMAGE), within=0.3, names=resolve)
    done.set()


def test_concurrent_lookups_are_limited() -> None:
    done = threading.Event()
    started: list[str] = []

    def resolve(host: str) -> Sequence[str]:
        started.append(host)
        done.wait()
        return ["127.0.0.1"]

    ours = fetcher(80, names=resolve)
    for _ in range(MAX_LOOKUPS + 5):
        with pytest.raises(DownloadFailed, match="too long"):
            ours.fetch("http://img.example/", time.monotonic() + 0.02)
    assert len(started) <= MAX_LOOKUPS
    done.set()


# Unusable responses


@pytest.mark.parametrize(
    "script",
    [
        answer(IMAGE, "404 Not Found"),
        answer(IMAGE, "500 Internal Server Error"),
        answer(IMAGE, "206 Partial Content"),
        answer(b"", "204 No Content"),
        answer(b""),
        answer(IMAGE, "200 OK", "Content-Encoding: gzip"),
        answer(IMAGE, "200 OK", "Content-Encoding: br"),
        answer(IMAGE, length=len(IMAGE) + 1),
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        IMAGE,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
    ids=lambda script: repr(script[:30]),
)
def test_an_unusable_response_fails_with_a_clear_error(script: bytes) -> None:
    with pytest.raises(DownloadFailed):
        fetch(script)


def test_an_unreachable_server_fails_with_a_clear_error() -> None:
    with closed_port() as port, pytest.raises(DownloadFailed):
        fetcher(port).fetch(f"http://img.example:{port}/", soon())


# Any input gives a service error

STARTS = [b"", b"HTTP/1.1 ", HEAD, HEAD + b"Content-Length: ", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"]
STARTS += [b"HTTP/1.1 302 Found\r\nLocation: "]


@settings(max_examples=200, deadline=None)
@given(strategies.sampled_from(STARTS), strategies.binary(max_size=300))
def test_any_response_gives_a_body_or_a_service_error(start: bytes, rest: bytes) -> None:
    with serving(start + rest) as (port, _), suppress(ServiceError):
        fetcher(port).fetch(f"http://img.example:{port}/", soon())


@given(strategies.text(max_size=40), strategies.sampled_from(["", "http://", "https://[", "http://img.example"]))
def test_any_text_that_is_not_a_url_is_refused(text: str, start: str) -> None:
    ours = UrlFetcher(Settings(allow_url_fetch=True), resolve=Names())
    with pytest.raises(UrlRefused):
        ours.fetch(start + text, soon())
