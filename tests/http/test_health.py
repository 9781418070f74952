"""Health endpoints in each state of the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from app.errors import ModelUnavailable
from app.observability import health
from app.observability.disk import DiskSpace
from app.observability.health import MemoryUse
from tests.support.doubles import STATUS, FakePool

UNAVAILABLE = ModelUnavailable("no weights", solution="python -m app models pull u2net")


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "least_space", lambda folders: DiskSpace(50, 100))


def show(pool: FakePool, *, closing: object = False, **change: object) -> None:
    """Set the state that the pool reports."""
    pool.answer = replace(STATUS, **change)  # type: ignore[arg-type]
    if closing:
        pool.queue.drain()


@pytest.mark.parametrize(
    ("change", "status", "http"),
    [
        ({}, "healthy", 200),
        ({"engines": 2}, "degraded", 200),
        ({"ready": 0}, "unhealthy", 503),
        ({"ready": 0, "restarting": 1}, "degraded", 200),
        ({"closing": True}, "unhealthy", 503),
    ],
)
def test_health(
    change: dict[str, object], status: str, http: int, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    show(fake_pool, **change)
    response = fast_client.get("/health")
    assert (response.status_code, response.json["status"]) == (http, status)  # type: ignore[index]


def test_health_has_the_documented_fields(make_client: Callable[..., FlaskClient]) -> None:
    body = make_client(queue_size=4).get("/health").json
    assert body is not None
    assert set(body) >= {"status", "checks", "memory", "model", "provider", "queue", "uptime_s", "version"}
    assert set(body["checks"]) == {"app", "engine", "model", "redis", "disk_space", "memory"}
    assert set(body["memory"]) == {"rss_mb", "limit_mb", "level"}
    assert set(body["disk"]) == {"free_mb", "free_percent", "level"}
    assert body["queue"] == {"depth": 0, "capacity": 4}


def test_live_needs_no_engine(fast_client: FlaskClient, fake_pool: FakePool) -> None:
    fake_pool.answer = replace(STATUS, ready=0)
    fake_pool.queue.drain()
    assert fast_client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("change", "http", "reason"),
    [
        ({}, 200, None),
        ({"ready": 0}, 503, "No engine has started yet."),
        ({"ready": 0, "restarting": 1}, 200, None),
        ({"ready": 0, "problem": UNAVAILABLE}, 503, "no weights"),
        ({"closing": True}, 503, "The server is shutting down."),
    ],
)
def test_ready(
    change: dict[str, object], http: int, reason: str | None, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    show(fake_pool, **change)
    response = fast_client.get("/health/ready")
    assert (response.status_code, response.json.get("reason")) == (http, reason)  # type: ignore[union-attr]


def test_ready_includes_the_command_that_downloads_weights(fast_client: FlaskClient, fake_pool: FakePool) -> None:
    fake_pool.answer = replace(STATUS, ready=0, problem=UNAVAILABLE)
    assert "models pull u2net" in fast_client.get("/health/ready").text


@pytest.mark.parametrize(
    ("rss", "level"), [(69, "OK"), (70, "WARNING"), (89, "WARNING"), (90, "CRITICAL"), (120, "CRITICAL")]
)
def test_memory_levels(rss: int, level: str) -> None:
    assert MemoryUse(rss, 100).level == level
