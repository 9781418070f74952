"""State of the service by the pool, Redis and memory. Over HTTP: tests/http/test_health.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.errors import ModelUnavailable
from app.observability import health
from app.observability.disk import DiskSpace
from app.observability.health import HealthMonitor, MemoryUse
from app.settings import Settings
from tests.support.doubles import STATUS, FakePool


@pytest.fixture(autouse=True)
def memory_and_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_memory_use", lambda pids: MemoryUse(10, 100))
    monkeypatch.setattr(health, "least_space", lambda folders: DiskSpace(50, 100))


@pytest.mark.parametrize(
    ("states", "check", "status"),
    [
        ((), None, "healthy"),
        ((None, None), None, "healthy"),
        ((True, None), True, "healthy"),
        ((True, False), False, "degraded"),
    ],
)
def test_redis_is_up_if_all_its_users_reach_it(
    states: tuple[bool | None, ...], check: bool | None, status: str, fake_pool: FakePool
) -> None:
    report = HealthMonitor(Settings(), fake_pool, *(lambda state=state: state for state in states)).report()
    assert isinstance(report["checks"], dict)
    assert (report["checks"]["redis"], report["status"]) == (check, status)


@pytest.mark.parametrize(("up", "status"), [(None, "healthy"), (True, "healthy"), (False, "degraded")])
def test_unavailable_jobs_degrade_the_service(up: bool | None, status: str, fake_pool: FakePool) -> None:
    report = HealthMonitor(Settings(), fake_pool, jobs_up=lambda: up).report()
    assert report["status"] == status
    assert (report["reason"] is None) == (status == "healthy")


def test_critical_memory_degrades_the_service(fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_memory_use", lambda pids: MemoryUse(90, 100))
    assert HealthMonitor(Settings(), fake_pool).report()["status"] == "degraded"


@pytest.mark.parametrize(
    ("free", "check", "level", "status"),
    [(10, True, "OK", "healthy"), (9, True, "WARNING", "degraded"), (4, False, "CRITICAL", "unhealthy")],
)
def test_disk_space(
    free: int, check: bool, level: str, status: str, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "least_space", lambda folders: DiskSpace(free << 20, 100 << 20))
    report = HealthMonitor(Settings(), fake_pool).report()
    assert isinstance(report["checks"], dict)
    assert (report["checks"]["disk_space"], report["status"]) == (check, status)
    assert report["disk"] == {"free_mb": free, "free_percent": free, "level": level}


def test_an_unreadable_disk_is_no_failure(fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "least_space", lambda folders: None)
    report = HealthMonitor(Settings(), fake_pool).report()
    assert isinstance(report["checks"], dict)
    assert (report["checks"]["disk_space"], report["disk"], report["status"]) == (None, None, "healthy")


def test_a_service_without_an_engine_reports_its_problem(fake_pool: FakePool) -> None:
    problem = ModelUnavailable("no weights", solution="fetch them")
    fake_pool.answer = replace(STATUS, ready=0, problem=problem)
    assert HealthMonitor(Settings(), fake_pool).readiness() == (False, "no weights", "fetch them")
