"""The web process's handle on one engine process: start it, ask it, kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from app import errors
from app.engine import wire
from app.engine.messages import EngineConfig, request_header, result_from_wire
from app.removal import RemovalRequest, RemovalResult

__all__ = ["EngineDied", "EngineProcess", "NotAccepted"]

# Libraries that would start a thread per core of the host when they are loaded; ours come from EngineConfig.
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Fewer heaps, and pages of 2 MB where the kernel has them: an inference takes 350 MB of fresh pages with u2netp, and
# fetching those by 4 kB takes a third of its time. And onnxruntime, since 1.31, would report its use to Microsoft.
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "ORT_DISABLE_TELEMETRY": "1",
}


class EngineDied(Exception):
    """The engine ended, or what it sent makes no sense; it must be replaced.

    `code` is its exit status, negative for a signal, None when it was still running.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def by_itself(self) -> bool:
        """Return whether the work was the cause, rather than a kill from outside."""
        return self.code in {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS}

    @property
    def aborted(self) -> bool:
        """Return whether native code aborted, as it does when an allocation fails."""
        return self.code == -signal.SIGABRT


class NotAccepted(EngineDied):
    """The engine was gone before it took the request: another one can have it, nothing has happened yet."""


class EngineProcess:
    """One engine: an exec'd process and our end of its own socket pair.

    It must be started by a thread that lives as long as the engine shall: the kernel kills an engine with the thread
    that started it.
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
    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.returncode is None

    @property
    def exit_status(self) -> int | None:
        """Return the exit status, negative for a signal, None while it runs."""
        return self._process.returncode

    @property
    def death(self) -> str:
        """Return how the process ended, as an operator would say it."""
        code = self._process.returncode
        if code is None:
            return "running"
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def warm_up(self, deadline: float, *, first: bool = False) -> dict[str, Any]:
        """Return the engine's `ready` message; raise EngineDied or TimeoutError (`deadline` is monotonic)."""
        try:
            wire.send(self._sock, asdict(self._config) if first else {"op": "warm"}, deadline=deadline)
            return wire.receive(self._sock, deadline)[0]
        except TimeoutError:
            raise
        except (EOFError, OSError, ValueError) as error:
            raise self._died(EngineDied, error) from error

    def remove(self, request: RemovalRequest, deadline: float, *, alone: bool = False) -> RemovalResult:
        """Have a request worked on; `alone` tells the engine that no other one is at work.

        Raise the ServiceError that the engine answers with, NotAccepted or EngineDied when it ends, TimeoutError at
        `deadline` (monotonic); after the last three it must be killed.
        """
        try:
            wire.send(
                self._sock,
                request_header(request) | {"alone": alone},
                [request.image, request.background_image],
                deadline,
            )
            wire.receive(self._sock, deadline)
        except TimeoutError:
            raise
        except (EOFError, OSError, ValueError) as error:
            raise self._died(NotAccepted, error) from error
        try:
            header, blobs = wire.receive(self._sock, deadline)
            if "error" not in header:
                return result_from_wire(header, blobs)
            failure = errors.from_code(**header["error"])
        except TimeoutError:
            raise
        except (EOFError, OSError, ValueError, TypeError, KeyError) as error:
            raise self._died(EngineDied, error) from error
        raise failure

    def _died(self, kind: type[EngineDied], error: Exception) -> EngineDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # end-of-file comes a moment before the exit status
        return kind(f"engine {self.pid}: {self.death} ({error})", self._process.returncode)

    def hang_up(self) -> None:
        """Tell the engine that it is no longer needed; it ends after what it is doing."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End the engine now, whatever it is doing, and wait until it is gone."""
        self.hang_up()
        self._process.kill()
        self._process.wait()
        self._sock.close()
