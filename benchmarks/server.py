"""Run the real service in processes of its own, and end them whatever happens.

Linux only: the kernel is asked to end a service whose benchmark has been killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from benchmarks.memory import ProcessMemory, process_memory, process_tree

__all__ = ["HOST", "ROOT", "Service", "ServiceFailed", "running_service"]

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
# As long as the pool gives an engine.
START_SECONDS = 120.0
# Enough for the photos under way; a benchmark does not wait out SHUTDOWN_GRACE.
STOP_SECONDS = 10.0
KILL_SECONDS = 5.0
# The kernel ends engines with their web worker; they may be in the middle of a system call.
ORPHAN_SECONDS = 2.0
POLL_SECONDS = 0.02
GET_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
# One client sends everything.
NO_LIMITS = {f"RATE_LIMIT_{endpoint}_PER_HOUR": "0" for endpoint in ("REMOVE_BG", "PREVIEW", "BASE64", "READ_FILE")} | {
    "RATE_LIMIT_MEGAPIXELS_PER_MINUTE": "0"
}


class ServiceFailed(Exception):
    """The service did not start, or does not do its work."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is ready; `ready_seconds` is how long that took from its start.

    `orphans` is filled when it has been ended: the processes that outlived it and were killed.
    """

    pid: int
    port: int
    ready_seconds: float
    orphans: list[str] = field(default_factory=list)

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of a GET."""
        return _get(self.port, path)

    def health(self) -> dict[str, Any]:
        """Return the report of /health."""
        return self.ask("/health")[1]

    def memory(self) -> list[ProcessMemory]:
        """Return the memory of every process that runs, parents before children."""
        return process_memory(self.pid)


@contextmanager
def running_service(**environment: str) -> Iterator[Service]:
    """Run gunicorn with all engines ready, under the caller's environment and these variables.

    Raise ServiceFailed when it does not become ready.
    """
    started, port, orphans = time.monotonic(), _free_port(), list[str]()
    process = _start(port, environment)
    try:
        _wait_for(process, "/health/ready", port, lambda status, _: status == 200)
        ready_seconds = time.monotonic() - started
        _wait_for(process, "/health", port, lambda _, report: report.get("status") == "healthy")
        yield Service(process.pid, port, ready_seconds, orphans)
    finally:
        _end(process, orphans)


def _start(port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    own = {"HOST": HOST, "PORT": str(port), "LOG_LEVEL": "WARNING"}
    return subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "app:create_app()"],
        cwd=ROOT,
        env=os.environ | own | NO_LIMITS | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the benchmark, which ends the service itself
        # Should the benchmark be killed, the kernel ends the master, and the master the others.
        preexec_fn=partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
    )


def _end(process: subprocess.Popen[bytes], orphans: list[str]) -> None:
    """End the service and wait for it: politely at first, then by force, noting who had to be forced."""
    members = process_tree(process.pid)
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"gunicorn did not end within {STOP_SECONDS:.0f} s and is killed", file=sys.stderr)
    finally:
        _kill_orphans([*members, *process_tree(process.pid)], orphans)
        _kill_group(process)


def _kill_orphans(members: list[psutil.Process], orphans: list[str]) -> None:
    """Kill what still lives a moment after the service, also where it has left the process group."""
    alive = psutil.wait_procs(members, ORPHAN_SECONDS)[1]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            orphans.append(f"{process.pid} {' '.join(process.cmdline()) or process.name()}")
            process.kill()


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
    connection = HTTPConnection(HOST, port, timeout=GET_SECONDS)
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
