"""Run the real service in separate processes, and end them in any case.

Linux only: the kernel ends the service when the benchmark is killed.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from benchmarks.memory import ProcessMemory, process_memory, process_tree

__all__ = [
    "HOST",
    "NO_LIMITS",
    "ROOT",
    "Service",
    "ServiceFailed",
    "free_port",
    "running_process",
    "running_server",
    "running_service",
]

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
# As long as an engine may take to start.
START_SECONDS = 120.0
# Enough for running photos; a benchmark does not wait for SHUTDOWN_GRACE.
STOP_SECONDS = 10.0
KILL_SECONDS = 5.0
# The kernel ends engines with their web worker, but not during a system call.
ORPHAN_SECONDS = 2.0
POLL_SECONDS = 0.02
GET_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
# All requests have the same client address.
LIMITED = ("REMOVE_BG", "PREVIEW", "BASE64", "READ_FILE", "JOBS")
NO_LIMITS = {f"RATE_LIMIT_{name}_PER_HOUR": "0" for name in LIMITED} | {"RATE_LIMIT_MEGAPIXELS_PER_MINUTE": "0"}


class ServiceFailed(Exception):
    """The service did not start, or does not work."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server that is ready; `started` is a time of `time.monotonic()`, `ready_seconds` counts from there.

    `orphans` is filled at its end: processes that outlived it and were killed.
    """

    pid: int
    port: int
    started: float
    ready_seconds: float
    orphans: list[str] = field(default_factory=list)

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of a GET."""
        return _get(self.port, path)

    def health(self) -> dict[str, Any]:
        """Return the report of /health."""
        return self.ask("/health")[1]

    def memory(self) -> list[ProcessMemory]:
        """Return the memory of every running process, parents before children."""
        return process_memory(self.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its processes so far, including ended ones."""
        total = 0.0
        for process in process_tree(self.pid):
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])  # user, system, and both of ended children
        return total


@contextmanager
def running_service(root: Path = ROOT, **environment: str) -> Iterator[Service]:
    """Run gunicorn until the block ends, with all engines ready, in the caller's environment and these variables.

    `root` is the checkout to run, with this Python. Raise ServiceFailed if it does not become ready.
    """
    port = free_port()
    own = {"HOST": HOST, "PORT": str(port), "LOG_LEVEL": "WARNING"}
    command = [sys.executable, "-m", "gunicorn", "app:create_app()"]
    with running_server(command, port, "/health/ready", root, own | NO_LIMITS | environment) as service:
        _wait_for(service.ask, "/health", lambda _, report: report.get("status") == "healthy")
        yield service


@contextmanager
def running_server(
    command: Sequence[str], port: int, ready: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[Service]:
    """Run a server until the block ends; it is ready when a GET of `ready` answers 200 with JSON.

    Raise ServiceFailed if it does not become ready.
    """
    started, orphans = time.monotonic(), list[str]()
    with running_process(command, folder, environment, orphans) as process:

        def ask(path: str) -> tuple[int, dict[str, Any]]:
            if process.poll() is not None:
                raise ServiceFailed(f"{command[0]} ended with exit status {process.returncode}.")
            return _get(port, path)

        _wait_for(ask, ready, lambda status, _: status == 200)
        yield Service(process.pid, port, started, time.monotonic() - started, orphans)


@contextmanager
def running_process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], orphans: list[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a new session and end all its processes with the block; `orphans` gets those killed by force."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches only the benchmark, which ends the server
        # If the benchmark is killed, the kernel ends the master, and the master the others.
        preexec_fn=partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
    )
    try:
        yield process
    finally:
        _end(process, orphans)


def _end(process: subprocess.Popen[bytes], orphans: list[str]) -> None:
    """End the service and wait for it: with SIGTERM, then by force, and record the processes killed by force."""
    members = process_tree(process.pid)
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"The server did not end within {STOP_SECONDS:.0f} s and is killed", file=sys.stderr)
    finally:
        _kill_orphans([*members, *process_tree(process.pid)], orphans)
        _kill_group(process)


def _kill_orphans(members: list[psutil.Process], orphans: list[str]) -> None:
    """Kill processes that outlive the service, also outside of its process group."""
    alive = psutil.wait_procs(members, ORPHAN_SECONDS)[1]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            orphans.append(f"{process.pid} {' '.join(process.cmdline()) or process.name()}")
            process.kill()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the rest of the service's process group, including engines without a web worker."""
    deadline = time.monotonic() + KILL_SECONDS
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(POLL_SECONDS)


def _wait_for(
    ask: Callable[[str], tuple[int, dict[str, Any]]], path: str, fulfilled: Callable[[int, dict[str, Any]], bool]
) -> None:
    """Request `path` until its answer is as expected."""
    deadline = time.monotonic() + START_SECONDS
    answer: object = "no answer"
    while time.monotonic() < deadline:
        with suppress(OSError, HTTPException, ValueError):
            status, body = ask(path)
            if fulfilled(status, body):
                return
            answer = body
        time.sleep(POLL_SECONDS)
    raise ServiceFailed(f"The server was not ready within {START_SECONDS:.0f} s; answer of {path}: {answer}")


def _get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection(HOST, port, timeout=GET_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(json.loads(response.read()))
    finally:
        connection.close()


def free_port() -> int:
    """Return an unused port of loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
