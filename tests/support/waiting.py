"""Waiting for conditions, and for work in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

__all__ = ["in_thread", "wait_until"]

P = ParamSpec("P")
R = TypeVar("R")


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for a condition; fail the test when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    """Return the result of work in a daemon thread: a job that no engine finishes is waited for without end."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # handed over
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
