"""Jobs of the local backend on one folder, over pretended engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.jobs import database, local_backend, work
from app.jobs.service import JobService
from tests.support.job_doubles import FakeEngine, local_jobs
from tests.support.local_service import Make


@pytest.fixture(autouse=True)
def patient_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads and processes wait for each other's transactions for as long as a busy disk needs."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 300.0)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def make(tmp_path: Path, engine: FakeEngine, quick: None) -> Iterator[Make]:
    """Build jobs on one folder, as the web workers of a machine do."""
    made = list[JobService]()

    def build(own: FakeEngine | None = None, **options: Any) -> JobService:
        made.append(local_jobs(tmp_path, own or engine, **options))
        return made[-1]

    yield build
    for service in made:
        service.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for work and for ended processes all the time."""
    monkeypatch.setattr(local_backend, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(local_backend, "RECOVERY_SECONDS", 0.1)
    monkeypatch.setattr(work, "RETRY_SECONDS", 0.05)
