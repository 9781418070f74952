"""Processes under gunicorn.conf.py: nothing crosses a fork, and a stopping service does not listen."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from tests.support.photos import encoded, jpeg, photo
from tests.support.service import Post, Service, gone
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL = "/remove-background"
Start = Callable[..., Service]


def mapped(process: psutil.Process, library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def test_no_thread_and_no_session_crosses_a_fork(start: Start) -> None:
    service = start(ENGINE_PROCESSES=2)
    wait_until(service.healthy)  # both engines have their session
    master, worker = psutil.Process(service.process.pid), service.worker()
    assert master.num_threads() == 1
    assert worker.num_threads() > 1
    assert not mapped(master, "onnxruntime") and not mapped(worker, "onnxruntime")
    for engine in service.engines():
        assert "app.engine.worker" in engine.cmdline()  # started by exec: without the worker's memory
        assert mapped(engine, "onnxruntime")


def test_the_application_has_a_name(start: Start) -> None:
    service = start("app:app", ENGINE_PROCESSES=1, DEBUG="true")
    assert service.request(URL, jpeg()).status == 200
    wait_until(lambda: "DEBUG" in service.log.read_text())


def test_nothing_outlives_a_master_that_is_killed(start: Start) -> None:
    service = start(WEB_CONCURRENCY=2, ENGINE_PROCESSES=1)
    tree = service.tree()
    service.process.kill()
    service.process.wait()
    assert gone(tree)


def test_the_heartbeat_file_is_in_memory(start: Start) -> None:
    worker = start(ENGINE_PROCESSES=1).worker()
    held = [str(link.readlink()) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
    assert [file for file in held if file.startswith("/dev/shm/wgunicorn")]  # noqa: S108


def test_no_connection_is_refused_while_a_worker_is_replaced(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, ENGINE_FAULTS=1)
    post = Post(service, URL, jpeg("coffee"), {"X-Request-ID": "fault-nap"})
    wait_until(service.received)
    service.worker().send_signal(signal.SIGTERM)
    assert not any(service.refuses() for _ in range(50))
    assert post.result().status == 200
    wait_until(service.ready)


def test_engines_send_no_telemetry(start: Start, tmp_path: Path) -> None:
    service = start(ENGINE_PROCESSES=1, HOME=tmp_path, XDG_CACHE_HOME=tmp_path)
    assert service.request(URL, jpeg()).status == 200
    assert list(tmp_path.iterdir()) == []  # folder of onnxruntime's telemetry


def test_sigttin_adds_no_worker_beyond_web_concurrency(start: Start) -> None:
    service = start(WEB_CONCURRENCY=2, ENGINE_PROCESSES=1)
    master = psutil.Process(service.process.pid)
    wait_until(lambda: len(master.children()) == 2)
    master.send_signal(signal.SIGTTIN)
    wait_until(lambda: "workers.at_maximum" in service.log.read_text())
    assert len(master.children()) == 2
    master.send_signal(signal.SIGTTOU)
    wait_until(lambda: len(master.children()) == 1)
    master.send_signal(signal.SIGTTIN)
    wait_until(lambda: len(master.children()) == 2)


def is_to_stop(process: psutil.Process) -> bool:
    """Return whether SIGTERM waits for a suspended process."""
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_worker_that_sigttou_ends_processes_the_photos_that_it_accepts(start: Start) -> None:
    service = start(WEB_CONCURRENCY=2, ENGINE_PROCESSES=1)
    master = psutil.Process(service.process.pid)
    wait_until(lambda: len([worker for worker in master.children() if worker.children()]) == 2)
    oldest, other = sorted(master.children(), key=lambda worker: worker.pid)
    oldest.suspend()
    other.suspend()
    wait_until(lambda: {oldest.status(), other.status()} == {psutil.STATUS_STOPPED})
    with ExitStack() as held:
        clients = [
            held.enter_context(closing(HTTPConnection("127.0.0.1", service.port, timeout=120))) for _ in range(4)
        ]
        for client in clients:
            client.request("POST", URL, encoded(photo("coffee").resize((60, 40))))
        master.send_signal(signal.SIGTTOU)
        wait_until(lambda: is_to_stop(oldest))
        oldest.resume()
        assert [client.getresponse().status for client in clients] == [200] * 4
    other.resume()
    wait_until(lambda: len(master.children()) == 1 and oldest not in master.children())
