"""Attackers of the hostile test, in a process of their own: held connections, expensive requests, kills of engines."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from random import Random

import psutil

from benchmarks.attack_inputs import HELD, Held, Request, make_requests
from benchmarks.server import HOST

__all__ = ["Tally", "attackers"]

CONNECTIONS = 1000
# Seconds between two steps of all held connections, for which one is held, and between two kills of engines.
STEP_SECONDS, HOLD_SECONDS, KILL_SECONDS = 0.5, 12.0, 5.0
# Seconds to wait for one answer.
ANSWER_SECONDS = 130.0
SPARE_FILES = 200
KILLED = "engine killed"

# Outcomes by name of the request: a status, or the name of an error.
Tally = dict[str, dict[str, int]]


@contextmanager
def attackers(port: int, master: int, seed: int) -> Iterator[Tally]:
    """Attack the service while the block runs; the tally is filled at its end."""
    context, tally = get_context("spawn"), Tally()
    stop, (results, sender) = context.Event(), context.Pipe(duplex=False)
    process = context.Process(target=_attack, args=(port, master, seed, stop, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield tally
        stop.set()
        tally |= results.recv()
        process.join()
    finally:
        process.kill()


def _attack(port: int, master: int, seed: int, stop: Event, results: Connection) -> None:
    _raise_file_limit()
    outcomes: Counter[tuple[str, str]] = Counter()
    threads = [
        threading.Thread(target=_hold, args=(port, stop)),
        threading.Thread(target=_kill, args=(master, stop, outcomes)),
    ]
    for number, request in enumerate(make_requests()):
        random = Random(f"{seed} {number}")  # noqa: S311  # reproducible, not secret
        threads.append(threading.Thread(target=_repeat, args=(port, request, random, stop, outcomes)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally = Tally()
    for (name, outcome), count in outcomes.items():
        tally.setdefault(name, {})[outcome] = count
    results.send(tally)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _hold(port: int, stop: Event) -> None:
    """Keep CONNECTIONS connections open, and open each again when it is closed or old."""
    held = [_Connection(port, HELD[number % len(HELD)], number) for number in range(CONNECTIONS)]
    while not stop.wait(STEP_SECONDS):
        for number, connection in enumerate(held):
            if not connection.step():
                held[number] = _Connection(port, connection.kind, number)
    for connection in held:
        connection.close()


class _Connection:
    """One held connection, which never blocks its thread."""

    def __init__(self, port: int, kind: Held, number: int) -> None:
        self.kind = kind
        self._until = time.monotonic() + HOLD_SECONDS * (0.5 + number % 100 / 100)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(1)
        with suppress(OSError):
            self._socket.connect((HOST, port))
            self._socket.sendall(kind.opening)
        self._socket.setblocking(False)

    def step(self) -> bool:
        """Send and read a little; close the connection and return false at its end."""
        try:
            with suppress(BlockingIOError):
                self._socket.send(self.kind.drip)
                if self.kind.reads:
                    self._socket.recv(65_536)  # also after the server has closed: an attacker does not hang up
        except OSError:
            self._until = 0.0
        if time.monotonic() > self._until:
            self.close()
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def _repeat(port: int, request: Request, random: Random, stop: Event, outcomes: Counter[tuple[str, str]]) -> None:
    while not stop.is_set():
        outcomes[request.name, _ask(port, request, random)] += 1
        stop.wait(request.pause)


def _ask(port: int, request: Request, random: Random) -> str:
    """Send a request and return the status of its answer, or the name of an error."""
    try:
        with socket.create_connection((HOST, port), ANSWER_SECONDS) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before its end
                connection.sendall(request.make(random))
            if request.hangs_up:
                return "hung up"
            start = connection.recv(65_536)
            while start and connection.recv(1 << 20):
                pass
    except OSError as error:
        return type(error).__name__
    return start[9:12].decode("latin-1") if start.startswith(b"HTTP/1.") else "no answer"


def _kill(master: int, stop: Event, outcomes: Counter[tuple[str, str]]) -> None:
    """Kill an engine again and again, as the kernel's OOM killer does."""
    while not stop.wait(KILL_SECONDS):
        with suppress(psutil.Error):
            engines = [each for each in psutil.Process(master).children(recursive=True) if _is_engine(each)]
            if engines:
                engines[0].kill()
                outcomes[KILLED, "SIGKILL"] += 1


def _is_engine(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "app.engine.worker" in process.cmdline()
    return False
