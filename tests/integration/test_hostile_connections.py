"""Connections that hold what others need: none of them delays /health or a photo, or ends a worker."""

from __future__ import annotations

import http.client
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.support.photos import jpeg
from tests.support.service import Post, Service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL = "/remove-background"
Start = Callable[..., Service]
# Far above what is usual, so that a busy machine passes; before, these connections blocked for 20 s and more.
SOON = 18
HEAD = b"GET %s HTTP/1.1\r\nHost: x\r\n"
UPLOAD = b"POST /remove-background HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 200000\r\n\r\n"
KINDS = {
    "silent": b"",
    "one byte": b"G",
    "half a head": HEAD % b"/health/live" + b"A: ",
    "no body": UPLOAD,
    "no body of a GET": HEAD % b"/health/live" + b"Content-Length: 10\r\n\r\n",
    "no body of a job": HEAD.replace(b"GET", b"POST") % b"/jobs" + b"Content-Length: 2000000000\r\n\r\n",
    "half a body": UPLOAD + b"\xff\xd8\xff",
    "never hangs up": HEAD % b"/health/live" + b"Connection: close\r\n\r\n",
    "HTTP/1.0": b"GET /health/live HTTP/1.0\r\n\r\n",
    "reads no answer": (HEAD % b"/openapi.json" + b"\r\n") * 20,
}


@pytest.fixture(scope="module")
def service(start: Start) -> Service:
    """A service with few file descriptors: 300 connections are more than it can hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # for the service, which inherits it
    try:
        return start(ENGINE_PROCESSES=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def same_worker_afterwards(service: Service) -> Iterator[None]:
    """Check that no worker was replaced, that photos are served, and that no error was logged."""
    worker = service.worker().pid
    yield
    assert service.worker().pid == worker
    assert service.request(URL, jpeg()).status == 200
    log = service.log.read_text()
    assert "Traceback" not in log and "unexpected error" not in log


def connect(service: Service, data: bytes = b"") -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", service.port))
    with suppress(OSError):  # it may have been closed already
        connection.sendall(data)
    return connection


def served(service: Service) -> list[int]:
    return [service.request("/health/live", timeout=SOON).status, service.request(URL, jpeg(), timeout=SOON).status]


def raw(service: Service, data: bytes, *, half_close: bool = False) -> tuple[int, bytes]:
    """Send bytes, and return the answer's status and body."""
    with connect(service, data) as connection:
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


@pytest.mark.parametrize("kind", KINDS)
def test_three_hundred_connections_delay_nobody(kind: str, service: Service) -> None:
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(connect(service, KINDS[kind]))
        assert served(service) == [200, 200]


def test_all_kinds_together_delay_nobody(service: Service) -> None:
    with ExitStack() as held:
        for number in range(600):
            held.enter_context(connect(service, list(KINDS.values())[number % len(KINDS)]))
        assert served(service) == [200, 200]
        assert service.worker().num_fds() < 256


def test_a_photo_at_work_survives_a_flood_of_connections(service: Service) -> None:
    (engine,) = service.engines()
    engine.suspend()
    before = service.received()
    post = Post(service, URL, jpeg())
    wait_until(lambda: service.received() > before)
    with ExitStack() as held:
        for _ in range(400):
            held.enter_context(connect(service, b"G"))
        assert service.request("/health/live", timeout=SOON).status == 200
        engine.resume()
        assert post.result().status == 200


def test_slow_uploaders_do_not_stop_photos(start: Start) -> None:
    slow = start(ENGINE_PROCESSES=1, QUEUE_SIZE=1, MAX_CONCURRENT_UPLOADS=2)
    with ExitStack() as held:
        for _ in range(10):
            held.enter_context(connect(slow, UPLOAD + b"\xff\xd8\xff"))
        assert slow.request(URL, jpeg(), timeout=SOON).status == 200


def test_beginnings_of_many_large_bodies_do_not_stop_photos(start: Start) -> None:
    small = start(MEMORY_PROFILE="low")
    upload = UPLOAD.replace(b"200000", b"16000000") + b"\xff\xd8\xff" + bytes(130_000)
    with ExitStack() as held:
        for _ in range(700):
            held.enter_context(connect(small, upload))
        assert [small.request(URL, jpeg("coffee"), timeout=3 * SOON).status for _ in range(3)] == [200] * 3


def test_a_client_that_closes_its_sending_half_gets_its_answer(service: Service) -> None:
    (engine,) = service.engines()
    engine.suspend()
    image = jpeg("coffee")
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(image)}\r\n\r\n".encode()
    before = service.received()
    with connect(service, head + image) as connection:
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: service.received() > before)
        time.sleep(1)  # while it waits, it is looked for several times
        engine.resume()
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, len(answer.read()) > 1000) == (200, True)


@pytest.mark.parametrize("size", [30_000_000, 60_000_000])
def test_a_client_that_sends_far_too_much_reads_its_413(size: int, service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("POST", URL, bytes(size), {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    assert (answer.status, b"FILE_TOO_LARGE" in answer.read()) == (413, True)
    connection.close()


@pytest.mark.parametrize("path", [URL, "/read-file", "/health/live", "/nothing", "/v1.0/removebg"])
@pytest.mark.parametrize(
    "chunks", [b"-1\r\nx\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloXX0\r\n\r\n", b"1\r\nx\r\n" * 20_000]
)
def test_a_malformed_chunked_body_is_a_400_in_json(chunks: bytes, path: str, service: Service) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    status, body = raw(service, head + chunks)
    assert (status, b"malformed_request" in body.lower()) == (400, True)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GE T / HTTP/1.1\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (b"GET / HTTP/7.7\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (HEAD % b"/" + b"A : b\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (HEAD % b"/" + b"Content-Length: -1\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (HEAD % (b"/" + b"a" * 9000) + b"\r\n", 414, b"URI_TOO_LONG"),
        (HEAD % b"/" + b"A: b\r\n" * 200 + b"\r\n", 431, b"HEADERS_TOO_LARGE"),
        (HEAD % b"/" + b"A: " + b"b" * 70_000, 431, b"HEADERS_TOO_LARGE"),
        (HEAD % b"/" + b"Transfer-Encoding: unknown\r\n\r\n", 501, b"NOT_IMPLEMENTED"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_in_json(
    request_bytes: bytes, status: int, code: bytes, service: Service
) -> None:
    answered, body = raw(service, request_bytes)
    assert (answered, code in body) == (status, True)


def test_requests_on_one_connection_are_answered_in_order(service: Service) -> None:
    head = HEAD % b"/health/live" + b"\r\n"
    with connect(service, head * 9 + HEAD % b"/nothing" + b"Connection: close\r\n\r\n") as connection:
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 9
    assert received.rindex(b"HTTP/1.1 404") > received.rindex(b"HTTP/1.1 200")


def test_a_client_that_expects_100_continue_is_told_to_go_on(service: Service) -> None:
    image = jpeg()
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(image)}\r\n\r\n".encode()
    with connect(service, head) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(image)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_memory_of_large_bodies_is_given_back(service: Service) -> None:
    worker = service.worker()
    assert service.request(URL, jpeg()).status == 200
    before = worker.memory_info().rss
    for body, kind in ((b'{"a":[' + b"{}," * 5_000_000, "json"), (b"a&" * 8_000_000, "x-www-form-urlencoded")):
        posts = [Post(service, URL, body, {"Content-Type": f"application/{kind}"}) for _ in range(8)]
        assert {post.result().status for post in posts} <= {400, 413}
    wait_until(lambda: worker.memory_info().rss < before + 10_000_000)
