"""A real gunicorn with real engines, in separate processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.configuration import NO_LIMITS, ROOT

__all__ = ["Answer", "Post", "Service", "closed_port", "crash", "end", "ended", "free_port", "gone", "gunicorn"]

# Ports below those that the system gives to clients and to servers at port 0: nobody gets one by chance. Each process
# of the tests (pytest-xdist) has its own.
MAX_PROCESSES = 16
PORTS = range(20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % MAX_PROCESSES, 32_000, MAX_PROCESSES)
_given = set[int]()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running service on loopback."""

    port: int
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def request(
        self, path: str, data: bytes | None = None, timeout: float = 120, headers: dict[str, str] | None = None
    ) -> Answer:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "image/jpeg"} | (headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))

    def answers(self, path: str = "/health/live") -> bool:
        """Return whether the service answers with 200."""
        try:
            return self.request(path).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def ready(self) -> bool:
        return self.answers("/health/ready")

    def refuses(self) -> bool:
        """Return whether nothing listens at its port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 60).close()
        except ConnectionError as error:  # reset where the listener closes just then
            return isinstance(error, ConnectionRefusedError)
        return False

    def healthy(self) -> bool:
        try:
            return bool(self.request("/health").json["status"] == "healthy")
        except (OSError, http.client.HTTPException):
            return False

    def received(self) -> int:
        """Return the number of images read so far."""
        return self.log.read_text().count("image.received")

    def worker(self) -> psutil.Process:
        (worker,) = psutil.Process(self.process.pid).children()
        return worker

    def engines(self) -> list[psutil.Process]:
        return self.worker().children()

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, seconds: float = 60) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Post(threading.Thread):
    """A photo posted in a separate thread."""

    def __init__(self, service: Service, path: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__(daemon=True)
        self.service, self.path, self.data, self.headers = service, path, data, headers
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.service.request(self.path, self.data, headers=self.headers)
        except (OSError, http.client.HTTPException) as error:
            self.error = error

    def result(self) -> Answer:
        self.join(120)
        assert self.answer is not None
        return self.answer


def free_port() -> int:
    """Return a port without a listener, each only once."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):  # it is in use: another one
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port that refuses connections; it is held, so that no other process listens there."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def gunicorn(
    environment: dict[str, str], log: Path, application: str = "app:create_app()", wrap: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    no_limits = {name.upper(): str(value) for name, value in NO_LIMITS.items()}
    no_limits["JOBS_DIR"] = str(log.with_name("jobs"))
    with log.open("wb") as output:
        return subprocess.Popen(
            [*wrap, Path(sys.executable).with_name("gunicorn"), application],
            env=os.environ | no_limits | environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def end(*services: Service) -> None:
    """End services, all at the same time."""
    running = [(service, service.tree()) for service in services if service.process.poll() is None]
    for service, _ in running:
        service.process.send_signal(signal.SIGTERM)
    for service, tree in running:
        try:
            service.process.wait(60)
        except subprocess.TimeoutExpired:
            service.process.kill()
        _kill(tree)
    for service in services:
        service.process.wait(60)


def crash(service: Service) -> None:
    """End all processes of a service at once."""
    tree = [psutil.Process(service.process.pid), *service.tree()]
    _kill(tree)
    service.process.wait(60)
    assert gone(tree, 60)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, also while it is a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two calls
        return True


def gone(processes: list[psutil.Process], seconds: float = 60) -> bool:
    """Return whether all of these end within some seconds."""
    deadline = time.monotonic() + seconds
    while not all(map(ended, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
