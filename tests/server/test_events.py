"""Answers in pieces: events with pauses in which no thread is held, and large answers that are never in memory."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

from app.server import pace
from app.server.flush import AnswerCut, Flush
from tests.support.waiting import wait_until
from tests.support.wsgi_server import received, served

EVENTS, OTHER = (f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in ("/events", "/other"))
LAST = b"\r\nConnection: close\r\n\r\n"
HOUR = 3600.0


class Stream:
    """Application with an answer of many pieces at /events, and a short one elsewhere."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.pieces = pieces
        self.count = 0
        self.closed = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/events":
            start_response("200 OK", [("Content-Length", "5")])
            return [b"other"]
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return self._counted()

    def _counted(self) -> Iterator[bytes]:
        try:
            for piece in self.pieces():
                self.count += 1
                yield piece
        finally:
            self.closed.set()


def endless(size: int = 1, pause: float = HOUR) -> Stream:
    def pieces() -> Iterator[bytes]:
        while True:
            yield Flush(b"x" * size, pause)

    return Stream(pieces)


def few(*pieces: bytes) -> Stream:
    return Stream(lambda: iter(pieces))


def chunked(answer: bytes) -> bytes:
    """Return the body of a chunked answer as sent."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    return body


def answer_of(connection: socket.socket) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


def test_a_flush_is_bytes_with_a_pause() -> None:
    piece = Flush(b"data", 1.5)
    assert (piece, piece.pause, Flush().pause) == (b"data", 1.5, 0)


def test_an_event_is_sent_before_the_next_one_is_asked_for() -> None:
    application = endless()
    with served(application) as server, server.connect(EVENTS) as client:
        assert answer_of(client).read(1) == b"x"
        assert application.count == 1


def test_events_are_chunks_and_the_last_one_ends_the_answer() -> None:
    with served(few(Flush(b"one", 0.01), Flush(b"", 0.01), Flush(b"two"), b"three", b"four")) as server:
        with server.connect(EVENTS.replace(b"\r\n\r\n", LAST)) as client:
            wanted = b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n"
            assert chunked(received(client)) == wanted


def test_events_for_http_1_0_end_with_the_connection() -> None:
    with served(few(Flush(b"one", 0.01), Flush(b"two"))) as server:
        with server.connect(EVENTS.replace(b"1.1", b"1.0")) as client:
            assert received(client).endswith(b"\r\n\r\nonetwo")


def test_an_answer_that_is_cut_has_no_end_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def pieces() -> Iterator[bytes]:
        yield Flush(b"one")
        raise AnswerCut

    application = Stream(pieces)
    with served(application) as server, server.connect(EVENTS) as client:
        assert chunked(received(client)) == b"3\r\none\r\n"
        assert application.closed.wait(60)
    assert "the application failed" not in caplog.text


def test_no_thread_is_held_during_a_pause() -> None:
    application = endless()
    with served(application, threads=1) as server:
        clients = [server.connect(EVENTS) for _ in range(20)]
        assert [answer_of(client).read(1) for client in clients] == [b"x"] * 20
        assert server.ask(OTHER).endswith(b"other")
        for client in clients:
            client.close()


def test_a_hang_up_ends_the_pause_and_closes_the_generator() -> None:
    application = endless()
    with served(application) as server:
        client = server.connect(EVENTS)
        assert client.recv(1)
        client.close()
        assert application.closed.wait(60)
        wait_until(lambda: not server.connections)


def test_a_request_behind_an_answer_in_events_is_answered_after_it() -> None:
    requests = EVENTS + OTHER.replace(b"\r\n\r\n", LAST)
    with served(few(*[Flush(b"x", 0.05)] * 3)) as server, server.connect(requests) as client:
        events, _, other = received(client).partition(b"0\r\n\r\n")
        assert chunked(events) == b"1\r\nx\r\n" * 3
        assert other.endswith(b"\r\n\r\nother")


def test_a_hang_up_behind_another_request_is_found_at_the_next_event() -> None:
    application = endless(pause=0.05)
    with served(application) as server:
        client = server.connect(EVENTS + OTHER)
        assert client.recv(1)
        client.close()
        assert application.closed.wait(60)


def test_a_graceful_stop_ends_events_in_order() -> None:
    application = endless()
    with served(application) as server, server.connect(EVENTS) as client:
        answer = answer_of(client)
        assert answer.read(1) == b"x"
        server.finish()
        assert answer.read() == b""  # IncompleteRead without a last chunk
        assert application.closed.wait(60)


def test_events_that_begin_after_a_stop_end_at_once() -> None:
    with served(endless()) as server:
        server.finish()
        with server.connect(EVENTS) as client:
            assert answer_of(client).read() == b"x"


def test_slow_events_are_not_a_slow_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "GRACE_SECONDS", 0.1)
    with served(few(*[Flush(b"x", 0.2)] * 5)) as server, server.connect(EVENTS) as client:
        assert answer_of(client).read() == b"xxxxx"


@pytest.mark.parametrize("application", [endless(100_000, 0.001), Stream(lambda: repeat(bytes(9_000)))])
def test_a_client_that_never_reads_is_closed(application: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(pace, "MIN_RATE", 1 << 30)  # the system's buffers take megabytes
    with served(application) as server, server.connect(EVENTS):
        assert application.closed.wait(60)
        wait_until(lambda: not server.connections)


def test_small_pieces_arrive_whole() -> None:
    with served(Stream(lambda: (b"x" for _ in range(300_000)))) as server, server.connect(EVENTS) as client:
        assert answer_of(client).read() == b"x" * 300_000


def test_a_large_answer_waits_for_its_reader() -> None:
    application = Stream(lambda: (bytes(65_536) for _ in range(16_000)))
    with served(application) as server, server.connect(EVENTS) as client:
        client.recv(1)
        time.sleep(1)
        assert application.count < 500  # 32 MB of 1 GB: a step, and the system's buffers


def test_a_large_answer_arrives_whole() -> None:
    application = Stream(lambda: (bytes(65_536) for _ in range(1_000)))
    with served(application) as server, server.connect(EVENTS) as client:
        assert len(answer_of(client).read()) == 65_536_000
        assert server.budget.used <= 2 << 20
    assert application.closed.wait(60)


def test_a_hang_up_within_a_large_answer_closes_the_generator() -> None:
    application = Stream(lambda: (bytes(65_536) for _ in range(16_000)))
    with served(application) as server:
        client = server.connect(EVENTS)
        client.recv(1)
        client.close()
        assert application.closed.wait(60)
    assert application.count < 16_000
