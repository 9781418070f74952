"""Large bodies and answers, and endless events, with a real gunicorn and nginx."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from tests.support.servers import NginxServer
from tests.support.service import Post, Service, free_port, gone
from tests.support.streaming_server import ARGUMENTS, LARGE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

Start = Callable[..., Service]
# One upload takes less than 1 MB, one answer 2 MB, and up to 3.5 MB on a busy machine.
MAX_GROWTH = 5_000_000
PIECE = bytes(1_000_000)


def peak(service: Service) -> int:
    """Return the maximum resident memory of the worker so far (proc(5), VmHWM)."""
    lines = Path(f"/proc/{service.worker().pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def connect(service: Service) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)


def pieces(size: int) -> Iterator[bytes]:
    return (PIECE for _ in range(0, size, len(PIECE)))


def uploaded(service: Service, headers: dict[str, str], *, chunked: bool) -> bytes:
    with closing(connect(service)) as connection:
        connection.request("POST", "/upload", pieces(LARGE), headers, encode_chunked=chunked)
        return connection.getresponse().read()


def events(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Ask for events, and read the first one."""
    connection.request("GET", "/events")
    answer = connection.getresponse()
    assert answer.read(11) == b"data: now\n\n"
    return answer


@pytest.fixture(scope="module")
def service(start: Start) -> Service:
    service = start(**ARGUMENTS)
    assert service.request("/upload", b"warm").body == b"4"
    return service


@pytest.mark.parametrize(
    ("headers", "chunked"), [({"Content-Length": str(LARGE)}, False), ({"Transfer-Encoding": "chunked"}, True)]
)
def test_memory_is_bounded_while_a_large_body_comes_in(
    headers: dict[str, str], chunked: bool, service: Service
) -> None:
    before = peak(service)
    assert uploaded(service, headers, chunked=chunked) == str(LARGE).encode()
    assert peak(service) < before + MAX_GROWTH


def test_memory_is_bounded_while_a_large_answer_goes_out(service: Service) -> None:
    before, size = peak(service), 0
    with closing(connect(service)) as connection:
        connection.request("GET", "/zeros")
        answer = connection.getresponse()
        while piece := answer.read(1_000_000):
            size += len(piece)
    assert size == LARGE
    assert peak(service) < before + MAX_GROWTH


def test_events_pass_nginx_one_by_one(service: Service, tmp_path: Path) -> None:
    nginx = NginxServer(tmp_path, free_port(), free_port(), (service.port,)).start()
    try:
        address = http.client.HTTPSConnection("127.0.0.1", nginx.https, timeout=120, context=nginx.trust())
        with closing(address) as connection:
            assert not events(connection).isclosed()
    finally:
        nginx.stop()


def test_a_graceful_stop_waits_for_no_events(start: Start) -> None:
    service = start(**ARGUMENTS)  # with an hour for requests in progress
    with closing(connect(service)) as connection:
        answer = events(connection)
        service.process.send_signal(signal.SIGTERM)
        assert answer.read() == b""  # with its last chunk
        assert service.process.wait(60) == 0


def test_connections_that_wait_to_be_accepted_are_answered_at_a_stop(start: Start) -> None:
    service = start(**ARGUMENTS)
    worker, master = service.worker(), psutil.Process(service.process.pid)
    worker.suspend()
    with ExitStack() as held:
        clients = [held.enter_context(closing(connect(service))) for _ in range(20)]
        for client in clients:
            client.request("GET", "/")
        master.send_signal(signal.SIGTERM)
        wait_until(lambda: not master.net_connections())  # then it sends the signal to its worker
        worker.resume()
        assert [client.getresponse().status for client in clients] == [200] * 20
    assert service.process.wait(60) == 0


def test_a_graceful_stop_waits_for_an_upload(start: Start) -> None:
    service = start(**ARGUMENTS)
    with closing(connect(service)) as connection:
        connection.putrequest("POST", "/upload")
        connection.putheader("Content-Length", "5")
        connection.endheaders(b"hel")
        other = Post(service, "/upload", b"hello")
        assert other.result().body == b"5"
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Handling signal: term" in service.log.read_text())
        connection.send(b"lo")
        assert connection.getresponse().read() == b"5"
    assert service.process.wait(60) == 0


def test_an_upload_that_stops_coming_does_not_outlive_the_grace(start: Start) -> None:
    service = start(**ARGUMENTS, GRACE=1)
    worker = service.worker()
    with closing(connect(service)) as connection:
        connection.putrequest("POST", "/upload")
        connection.putheader("Content-Length", "5000000")
        connection.endheaders(bytes(1_000_000))
        worker.send_signal(signal.SIGTERM)  # not to the master, which would kill it
        assert gone([worker], seconds=60)
    log = service.log.read_text()
    assert "WORKER TIMEOUT" not in log and "Traceback" not in log
