"""Run the real service in processes of its own, look at their memory, and end them whatever happens.

Linux only: PSS comes from /proc, and the kernel is asked to end a service whose benchmark has been killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

__all__ = ["HOST", "ROOT", "PeakMemory", "ProcessMemory", "Service", "ServiceFailed", "running_service"]

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
# As long as the pool gives an engine.
START_SECONDS = 120.0
# Enough for the photos under way; a benchmark does not wait out SHUTDOWN_GRACE.
STOP_SECONDS = 10.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02
# A sample takes some 7 ms of one core.
SAMPLE_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


class ServiceFailed(Exception):
    """The service did not start, or does not do its work."""


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What one process holds, in bytes; PSS counts a page that n processes share as 1/n."""

    role: str
    pid: int
    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready; `ready_seconds` is how long that took from its start."""

    pid: int
    port: int
    ready_seconds: float

    def health(self) -> dict[str, Any]:
        """Return the report of /health."""
        return _get(self.port, "/health")[1]

    def memory(self) -> list[ProcessMemory]:
        """Return the memory of every process that runs, parents before children."""
        found = []
        for process in _tree(self.pid):
            with suppress(psutil.Error):  # an engine that has just been replaced
                info = process.memory_full_info()
                found.append(ProcessMemory(_role(process, self.pid), process.pid, info.rss, info.pss))
        return found

    def pss(self) -> int:
        """Return the bytes that all processes hold together, shared pages counted once."""
        return sum(process.pss for process in self.memory())


@contextmanager
def running_service(**environment: str) -> Iterator[Service]:
    """Run gunicorn with all engines ready, under the caller's environment and these variables.

    Raise ServiceFailed when it does not become ready.
    """
    started, port = time.monotonic(), _free_port()
    process = _start(port, environment)
    try:
        _wait_for(process, "/health/ready", port, lambda status, _: status == 200)
        ready_seconds = time.monotonic() - started
        _wait_for(process, "/health", port, lambda _, report: report.get("status") == "healthy")
        yield Service(process.pid, port, ready_seconds)
    finally:
        _end(process)


class PeakMemory:
    """Sample the memory of a service while the block runs: `bytes` is the largest sum of PSS seen."""

    def __init__(self, service: Service) -> None:
        self.bytes = 0
        self._service = service
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._service.pss())


def _start(port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    own = {"HOST": HOST, "PORT": str(port), "LOG_LEVEL": "WARNING"}
    return subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "app:create_app()"],
        cwd=ROOT,
        env=os.environ | own | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the benchmark, which ends the service itself
        # Should the benchmark be killed, the kernel ends the master, and the master the others.
        preexec_fn=partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the service and wait for it: politely at first, then by force."""
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"gunicorn did not end within {STOP_SECONDS:.0f} s and is killed", file=sys.stderr)
    finally:
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the service's process group, engines without a web worker included."""
    deadline = time.monotonic() + KILL_SECONDS
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(POLL_SECONDS)


def _wait_for(
    process: subprocess.Popen[bytes], path: str, port: int, fulfilled: Callable[[int, dict[str, Any]], bool]
) -> None:
    """Ask `path` until its answer is what it should be."""
    deadline = time.monotonic() + START_SECONDS
    answer: object = "no answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceFailed(f"gunicorn ended with exit status {process.returncode}.")
        with suppress(OSError, HTTPException, ValueError):
            status, body = _get(port, path)
            if fulfilled(status, body):
                return
            answer = body
        time.sleep(POLL_SECONDS)
    raise ServiceFailed(f"The service was not ready within {START_SECONDS:.0f} s; {path} says: {answer}")


def _get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(json.loads(response.read()))
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _tree(pid: int) -> list[psutil.Process]:
    try:
        master = psutil.Process(pid)
        return [master, *master.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _role(process: psutil.Process, master: int) -> str:
    if process.pid == master:
        return "gunicorn master"
    if process.ppid() == master:
        return "web worker"
    return "engine" if "app.engine.worker" in process.cmdline() else "other"
