"""Requests, clock and headers of rate limits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import EngineCrashed
from tests.support.doubles import FakePool
from tests.support.photos import jpeg

__all__ = ["URL", "Clock", "ask", "fail_after", "left", "statuses"]

URL = "/remove-background"


class Clock:
    """Clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25
        self._behind = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now + self._behind

    def set_back(self, seconds: float) -> None:
        self.now -= seconds
        self._behind += seconds


def left(response: TestResponse) -> tuple[str, str]:
    return response.headers["X-RateLimit-Limit"], response.headers["X-RateLimit-Remaining"]


def ask(client: FlaskClient, url: str = URL, address: str = "192.0.2.1", **headers: str) -> TestResponse:
    return client.post(url, data=jpeg(), headers=headers, environ_overrides={"REMOTE_ADDR": address})


def statuses(client: FlaskClient, requests: int = 3, **more: str) -> list[int]:
    return [ask(client, **more).status_code for _ in range(requests)]


def fail_after(pool: FakePool, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let the next request fail with a server error, after calling `act`; later requests succeed."""

    def submit(*_: object) -> NoReturn:
        monkeypatch.undo()
        with ThreadPoolExecutor(1) as thread:  # a nested request would share its `g`
            thread.submit(act).result()
        raise EngineCrashed()

    monkeypatch.setattr(pool, "submit", submit)
