"""Handle of an engine process, used by the web process: start it, send requests to it, kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import psutil

from app import errors
from app.engine import wire
from app.engine.messages import EngineConfig, request_header, result_from_wire
from app.engine.submission import Deadline, Outcome
from app.removal import RemovalRequest

__all__ = ["EngineDied", "EngineProcess", "NotAccepted"]

# These libraries start one thread per core of the host when loaded; EngineConfig sets the number of threads.
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Fewer heaps, and pages of 2 MB where available: an inference with u2netp allocates 350 MB, and page faults for 4 kB
# pages take a third of its time. onnxruntime sends telemetry to Microsoft since 1.31.
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "ORT_DISABLE_TELEMETRY": "1",
}

# Seconds between the end of an engine's connection and its exit status, at most; more than a busy machine needs.
EXIT_SECONDS = 10.0


class EngineDied(Exception):
    """The engine ended or sent an invalid message, and must be replaced.

    `code` is its exit status, negative for a signal, None if it is still running.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def caused_by_work(self) -> bool:
        """Return whether the work was the cause, not a kill from outside."""
        return self.code in {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGPROF}

    @property
    def decoded_too_long(self) -> bool:
        """Return whether decoding the image took too much CPU time."""
        return self.code == -signal.SIGPROF

    @property
    def killed(self) -> bool:
        """Return whether the engine was killed from outside, such as by the kernel's OOM killer or an operator."""
        return self.code in {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT}

    @property
    def aborted(self) -> bool:
        """Return whether native code aborted, as it does when an allocation fails."""
        return self.code == -signal.SIGABRT


class NotAccepted(EngineDied):
    """The engine ended before it accepted the request, so another engine can process it."""


class EngineProcess:
    """One engine: a process started by exec, and this side of a socket pair.

    The kernel kills the engine when the thread that started it ends, so that thread must outlive the engine.
    """

    def __init__(self, config: EngineConfig, on_exit: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as unless_started:
            unless_started.callback(ours.close)
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "app.engine.worker", str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | dict.fromkeys(SINGLE_THREADED, "1") | ENVIRONMENT,
            )
            unless_started.pop_all()
        self._sock = ours
        self._config = config
        threading.Thread(target=self._reap, args=(on_exit,), name="engine-reaper", daemon=True).start()

    def _reap(self, on_exit: Callable[[], None]) -> None:
        self._process.wait()
        on_exit()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used, 0 after its end."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    @property
    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.returncode is None

    @property
    def exit_status(self) -> int | None:
        """Return the exit status, negative for a signal, None while the process runs."""
        return self._process.returncode

    @property
    def death(self) -> str:
        """Return the end of the process for logs: the name of a signal, an exit status, or "running"."""
        code = self._process.returncode
        if code is None:
            return "running"
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def warm_up(self, deadline: float, *, first: bool = False) -> dict[str, Any]:
        """Run a warm-up and return its answer; raise EngineDied or TimeoutError (`deadline` is monotonic)."""
        with self._raising(EngineDied):
            wire.send(self._sock, asdict(self._config) if first else {"op": "warm"}, deadline=deadline)
            return wire.receive(self._sock, deadline)[0]

    def remove(
        self, request: RemovalRequest, deadline: Deadline, *, alone: bool = False, fast: bool = False
    ) -> Iterator[tuple[int, Outcome]]:
        """Send a request; yield the number of each of its options, with the result or the error, as they are finished.

        See `Pipeline.run` for `alone` and `fast`. Raise NotAccepted or EngineDied when the engine ends, TimeoutError at
        the deadline. After these the engine must be killed.
        """
        due = deadline.in_engine()
        header = request_header(request) | {"alone": alone, "fast": fast}
        with self._raising(NotAccepted):
            wire.send(self._sock, header, [request.image, request.background_image], due)
            wire.receive(self._sock, due)
        for _ in request.all_options:
            yield self._receive_outcome(due)
            due = deadline.in_engine()

    def _receive_outcome(self, due: float) -> tuple[int, Outcome]:
        with self._raising(EngineDied):
            header, blobs = wire.receive(self._sock, due)
            number = header.pop("number")
            if "error" in header:
                return number, errors.from_code(**header["error"])
            return number, result_from_wire(header, blobs)

    @contextlib.contextmanager
    def _raising(self, kind: type[EngineDied]) -> Iterator[None]:
        """Raise this exception for the end of the connection or an invalid message; TimeoutError passes."""
        try:
            yield
        except TimeoutError:
            raise
        except (EOFError, OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, (EOFError, OSError)):  # the end of the connection, a moment before the exit status
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(EXIT_SECONDS)
            raise kind(f"engine {self.pid}: {self.death} ({error})", self._process.returncode) from error

    def hang_up(self) -> None:
        """Close the connection, so that the engine ends after its current request."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill the engine and wait for its end."""
        self.hang_up()
        self._process.kill()
        self._process.wait()
        self._sock.close()
