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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.configuration import NO_LIMITS, ROOT

__all__ = ["Answer", "Post", "Service", "closed_port", "crash", "end", "ended", "free_port", "gone", "gunicorn"]


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
        self, path: str, data: bytes | None = None, timeout: float = 60, headers: dict[str, str] | None = None
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
        except OSError:
            return False

    def ready(self) -> bool:
        return self.answers("/health/ready")

    def healthy(self) -> bool:
        return self.answers("/health") and self.request("/health").json["status"] == "healthy"

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

    def stop(self, seconds: float = 20) -> int:
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
        self.join(60)
        assert self.answer is not None
        return self.answer


def free_port() -> int:
    """Return a port below those that the kernel gives to other sockets, so that none of them takes it meanwhile."""
    while True:
        port = 15_000 + secrets.randbelow(32_768 - 15_000)  # ip(7): net.ipv4.ip_local_port_range
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
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


def end(service: Service) -> None:
    if service.process.poll() is None:
        tree = service.tree()
        try:
            service.stop()
        except subprocess.TimeoutExpired:
            service.process.kill()
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    service.process.wait(60)


def crash(service: Service) -> None:
    """End all processes of a service at once."""
    tree = [psutil.Process(service.process.pid), *service.tree()]
    for process in tree:
        process.kill()
    service.process.wait(60)
    assert gone(tree, 60)


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
