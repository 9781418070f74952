"""Bodies that the application reads while they arrive: refusals before the body, hostile clients, places."""

from __future__ import annotations

import gc
import hashlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from app.errors import AuthRequired, ServiceError
from app.server import connection, pace, uploads
from tests.support.waiting import wait_until
from tests.support.wsgi_server import LIMIT, PATH, received, rendering, served

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"


def head(*headers: str, path: str = PATH) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def chunks(data: bytes, size: int) -> bytes:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def digest(environ: dict[str, Any]) -> bytes:
    """Read the body to its end in pieces; return its digest."""
    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(30_000):
        digest.update(piece)
    return digest.hexdigest().encode()


def refuse(_environ: dict[str, Any]) -> bytes:
    raise AuthRequired


class Reader:
    """Application that reads its body and keeps the errors of reading."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.errors: queue.Queue[ServiceError] = queue.Queue()

    def __call__(self, environ: dict[str, Any]) -> bytes:
        environ["wsgi.input"].read(1)
        self.began.set()
        try:
            return digest(environ)
        except ServiceError as error:
            self.errors.put(error)
            raise

    def error(self) -> str:
        return self.errors.get(timeout=60).code


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients be too slow soon."""
    monkeypatch.setattr(pace, "GRACE_SECONDS", 0.3)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no upload count as stalled."""
    monkeypatch.setattr(pace, "STALL_SECONDS", 1000)
    monkeypatch.setattr(pace, "STALL_RATE", 0)


BODY = bytes(range(256)) * 4_000


@pytest.mark.parametrize(
    "sent",
    [
        head(f"Content-Length: {len(BODY)}") + BODY,
        head(CHUNKED) + chunks(BODY, 100_000),
        head(CHUNKED) + chunks(BODY, 999),
        head(CHUNKED) + chunks(BODY, 11),
    ],
    ids=["length", "large chunks", "chunks", "small chunks"],
)
def test_a_streamed_body_is_read_to_its_end(sent: bytes) -> None:
    with served(rendering(digest)) as server, server.connect(sent) as client:
        assert received(client).endswith(b"\r\n\r\n" + hashlib.sha256(BODY).hexdigest().encode())


def test_a_body_far_over_the_limit_of_other_routes_is_streamed() -> None:
    size = 40_000_000
    with served(rendering(digest)) as server, server.connect(head(f"Content-Length: {size}")) as client:
        client.sendall(bytes(size))
        assert received(client).endswith(hashlib.sha256(bytes(size)).hexdigest().encode())


def test_bytes_of_a_streamed_body_are_given_back() -> None:
    with served(rendering(digest)) as server:
        server.ask(head(f"Content-Length: {len(BODY)}") + BODY)
        wait_until(lambda: not server.connections)
        assert server.budget.used == 0


def test_one_byte_chunks_are_read_up_to_the_framing_allowed() -> None:
    with served(rendering(digest)) as server:
        few, many = (head(CHUNKED) + chunks(bytes(count), 1) for count in (10_000, 100_000))
        assert server.ask(few).startswith(b"HTTP/1.1 200")
        assert server.ask(many).startswith(b"HTTP/1.1 400 MALFORMED_REQUEST")


@pytest.mark.parametrize("headers", [["Content-Length: 40000000"], [CHUNKED]])
@pytest.mark.parametrize("expect", [[], ["Expect: 100-continue"]])
def test_a_refusal_is_sent_before_the_body(headers: list[str], expect: list[str]) -> None:
    with served(rendering(refuse)) as server, server.connect(head(*headers, *expect)) as client:
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"Connection: close" in answer


def test_a_client_that_sends_on_reads_its_refusal() -> None:
    with served(rendering(refuse)) as server, server.connect(head("Content-Length: 10000000")) as client:
        client.sendall(bytes(10_000_000))
        assert received(client).startswith(b"HTTP/1.1 401 ")


def test_100_continue_is_sent_when_the_application_reads() -> None:
    entered, may_read = threading.Event(), threading.Event()

    def wait(environ: dict[str, Any]) -> bytes:
        entered.set()
        assert may_read.wait(60)
        return digest(environ)

    with served(rendering(wait)) as server:
        client = server.connect(head("Content-Length: 5", "Expect: 100-continue"))
        assert entered.wait(60)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        may_read.set()
        client.settimeout(60)
        assert client.recv(1000) == CONTINUE
        client.sendall(b"hello")
        assert received(client).endswith(hashlib.sha256(b"hello").hexdigest().encode())
        client.close()


def test_100_continue_is_omitted_for_a_body_that_came() -> None:
    with served(rendering(digest)) as server:
        assert server.ask(head("Content-Length: 5", "Expect: 100-continue") + b"hello").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (head(f"Content-Length: {LIMIT + 1}"), b"413 FILE_TOO_LARGE"),
        (head(CHUNKED) + b"%x\r\n" % (LIMIT + 1), b"413 FILE_TOO_LARGE"),
        (head(CHUNKED) + b"5\r\nhelloXX", b"400 MALFORMED_REQUEST"),
        (head(CHUNKED) + b"-1\r\n", b"400 MALFORMED_REQUEST"),
        (head("Content-Length: 100") + b"half", b"400 MALFORMED_REQUEST"),
    ],
    ids=["length", "chunk over the limit", "chunk", "chunk size", "half"],
)
def test_an_error_of_the_body_is_raised_in_the_application(sent: bytes, code: bytes) -> None:
    with served(rendering(digest)) as server:
        assert server.ask(sent).startswith(b"HTTP/1.1 " + code)


def test_a_chunked_body_that_never_ends_is_refused_at_the_limit() -> None:
    piece = chunks(bytes(1_000_000), 1_000_000).removesuffix(b"0\r\n\r\n")
    with served(rendering(digest)) as server, server.connect(head(CHUNKED)) as client:
        for _ in range(LIMIT // 1_000_000 + 5):
            client.sendall(piece)
        assert client.recv(1000).startswith(b"HTTP/1.1 413 FILE_TOO_LARGE")


def test_a_repeated_read_after_an_error_raises_it_again() -> None:
    def stubborn(environ: dict[str, Any]) -> bytes:
        with pytest.raises(ServiceError):
            digest(environ)
        return digest(environ)

    with served(rendering(stubborn)) as server:
        assert server.ask(head("Content-Length: 100") + b"half").startswith(b"HTTP/1.1 400 MALFORMED_REQUEST")


def test_a_hang_up_within_the_body_ends_the_read() -> None:
    reader = Reader()
    with served(rendering(reader)) as server:
        client = server.connect(head("Content-Length: 1000") + b"half")
        assert reader.began.wait(60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        client.close()
        assert reader.error() == "MALFORMED_REQUEST"


@pytest.mark.usefixtures("impatient")
def test_a_silent_client_is_too_slow() -> None:
    with served(rendering(digest)) as server, server.connect(head("Content-Length: 1000") + b"half") as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 408 REQUEST_TIMEOUT")


@pytest.mark.usefixtures("impatient")
def test_single_bytes_are_too_slow() -> None:
    ended = threading.Event()
    with served(rendering(digest)) as server, server.connect(head("Content-Length: 1000000")) as client:

        def drip() -> None:
            while not ended.wait(0.02):
                with suppress(OSError):  # the server closes the connection soon after its answer
                    client.send(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert client.recv(1000).startswith(b"HTTP/1.1 408 REQUEST_TIMEOUT")
        ended.set()
        dripping.join(60)


def test_time_in_which_the_application_does_not_read_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    again, hours = threading.Event(), list[float]()
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * len(hours))
    for module in (connection, pace, uploads):
        monkeypatch.setattr(module, "time", clock)

    def busy(environ: dict[str, Any]) -> bytes:
        environ["wsgi.input"].read(1)
        hours.append(1)
        again.set()
        return digest(environ)

    with served(rendering(busy)) as server, server.connect(head("Content-Length: 2") + b"a") as client:
        assert again.wait(60)
        client.sendall(b"b")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_an_upload_may_take_longer_than_the_request_timeout() -> None:
    reader = Reader()
    with served(rendering(reader)) as server:
        server.request_timeout = 0.1
        with server.connect(head("Content-Length: 2") + b"a") as client:
            assert reader.began.wait(60)
            time.sleep(0.3)
            client.sendall(b"b")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("patient")
def test_an_upload_without_a_place_is_refused_before_its_body() -> None:
    reader = Reader()
    with served(rendering(reader), uploads=1) as server:
        with server.connect(head("Content-Length: 2") + b"a") as first:
            assert reader.began.wait(60)
            with server.connect(head("Content-Length: 5", "Expect: 100-continue")) as second:
                assert second.recv(1000).startswith(b"HTTP/1.1 429 QUEUE_FULL")
            first.sendall(b"b")
            assert first.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.ask(head("Content-Length: 5") + b"hello").startswith(b"HTTP/1.1 200")


def test_a_stalled_upload_gives_its_place_to_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STALL_SECONDS", 0)
    reader = Reader()
    with served(rendering(reader), uploads=1) as server, server.connect(head("Content-Length: 2") + b"a") as first:
        assert reader.began.wait(60)
        wait_until(lambda: server.ask(head("Content-Length: 5") + b"hello").startswith(b"HTTP/1.1 200"))
        assert reader.error() == "REQUEST_TIMEOUT"
        assert first.recv(1000).startswith(b"HTTP/1.1 408 REQUEST_TIMEOUT")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("work", [refuse, digest], ids=["refused", "read"])
def test_every_end_of_an_upload_gives_back_its_place(work: Callable[[dict[str, Any]], bytes]) -> None:
    def partly(environ: dict[str, Any]) -> bytes:
        environ["wsgi.input"].read(1)
        return work(environ)

    with served(rendering(partly), uploads=1) as server:
        for body in [b"half", b"hello"] * 3:
            assert b"QUEUE_FULL" not in server.ask(head("Content-Length: 5") + body)


def test_requests_without_a_read_take_no_place() -> None:
    with served(rendering(refuse), uploads=0) as server:
        assert server.ask(head("Content-Length: 5") + b"hello").startswith(b"HTTP/1.1 401")


def test_other_requests_need_no_thread_of_uploads() -> None:
    reader = Reader()
    with served(rendering(reader), uploads=1, threads=2) as server, server.connect(head("Content-Length: 9")) as client:
        client.sendall(b"a")
        assert reader.began.wait(60)
        assert server.ask(head("Content-Length: 5", path="/other") + b"hello").startswith(b"HTTP/1.1 200")


def test_a_close_of_the_server_ends_the_read() -> None:
    reader = Reader()
    with served(rendering(reader)) as server:
        client = server.connect(head("Content-Length: 9") + b"a")
        assert reader.began.wait(60)
    assert reader.error() == "SHUTTING_DOWN"
    client.close()


def test_an_application_may_answer_while_it_reads() -> None:
    def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        while piece := environ["wsgi.input"].read(1_000_000):
            yield piece

    with served(echo) as server:
        answer = server.ask(head(f"Content-Length: {len(BODY)}").replace(b"1.1", b"1.0", 1) + BODY)
        assert answer.endswith(b"\r\n\r\n" + BODY)
        wait_until(lambda: not server.connections)


@pytest.mark.usefixtures("impatient")
def test_hostile_uploads_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(1)
    requests = [
        head("Content-Length: 200000", *expect) + bytes(size)
        for expect in ([], ["Expect: 100-continue"])
        for size in (0, 1, 100_000, 200_000)
    ]
    requests += [head(CHUNKED) + chunks(bytes(90_000), 999)[:cut] for cut in (0, 1, 50_000, -3)]
    with served(rendering(digest), uploads=2) as server:
        clients = [server.connect() for _ in range(100)]
        for client in clients:
            with suppress(OSError):  # the server may have closed the connection
                client.sendall(rng.choice(requests))
        for client in clients:
            if rng.random() < 0.3:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
            if rng.random() < 0.6:
                client.close()
        for client in clients:
            client.close()
        wait_until(lambda: not server.connections)
        assert server.budget.used == 0
        assert server.ask(head("Content-Length: 5") + b"hello").startswith(b"HTTP/1.1 200")
    gc.collect()  # asyncio logs errors of tasks that nobody waited for
    assert caplog.text == ""
