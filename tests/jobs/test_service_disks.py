"""Jobs of the local backend whose state or files cannot be read or written."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.errors import NotFound
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Counts
from app.jobs.service import DATABASE
from app.jobs.sqlite_store import SqliteStore
from tests.support.job_doubles import FakeEngine, upload
from tests.support.jobs import new_job
from tests.support.local_service import A, Gate, Make, ended, submitted
from tests.support.waiting import wait_until


def test_a_store_that_is_away_for_a_moment_loses_no_outcome(
    make: Make, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.before = gate = Gate()
    service = make(threads=1)
    service.start()
    submitted(service, photos=1)
    gate.reached.acquire()
    finish, failures = SqliteStore.finish, [JobsUnavailable(), JobsUnavailable()]

    def failing(self: SqliteStore, *args: Any) -> bool:
        if failures:
            raise failures.pop()
        return finish(self, *args)

    monkeypatch.setattr(SqliteStore, "finish", failing)
    gate.opened.set()
    assert ended(service).counts == Counts(done=1)
    assert len(engine.requests) == 1


def test_a_job_whose_photos_cannot_be_made_durable_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make()
    upload(service, A, 2)

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(JobsUnavailable):
        service.submit(new_job(A, photos=2))
    assert service.up() is False
    with pytest.raises(NotFound):
        service.find(A, "")
    with pytest.raises(FileNotFoundError):
        service.files.read(f"{A}/in-1")


def test_a_damaged_state_makes_jobs_unavailable_and_nothing_else(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 1000)
    service = make()
    service.start()
    wait_until(lambda: service.up() is False)
    for call in (service.check, lambda: service.find(A, ""), lambda: submitted(service), service.queue_state):
        with pytest.raises(JobsUnavailable):
            call()
    assert service.waiting() is None
    time.sleep(0.5)
    assert "Traceback" not in caplog.text
    assert len([record for record in caplog.records if "damaged" in record.getMessage()]) <= 2  # reading, writing


def test_jobs_return_with_a_new_state(make: Make, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 1000)
    service = make()
    service.start()
    wait_until(lambda: service.up() is False)
    (tmp_path / DATABASE).unlink()
    wait_until(lambda: service.up() is None)
    submitted(service)
    assert ended(service).counts == Counts(done=3)


def test_a_folder_that_cannot_be_written_makes_jobs_unavailable(make: Make, tmp_path: Path) -> None:
    (tmp_path / "files").touch()
    (tmp_path / "processes").touch()
    service = make()
    service.start()
    wait_until(lambda: service.up() is False)
    with pytest.raises(JobsUnavailable):
        service.check()


def test_a_full_disk_delays_photos(make: Make, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.work.PAUSE_SECONDS", 0.1)
    service = make(threads=1)
    submitted(service)
    full = threading.Event()
    full.set()
    replace = Path.replace

    def limited(self: Path, target: Path) -> Path:
        if full.is_set() and self.name.endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", limited)
    service.start()
    wait_until(lambda: service.up() is False)
    assert service.find(A, "").counts.finished == 0
    full.clear()
    assert ended(service).counts == Counts(done=3)
    wait_until(lambda: service.up() is None)
