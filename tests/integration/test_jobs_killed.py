"""SIGKILL at each step of a job: what was accepted is finished, what was finished stays, what was deleted is gone."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.errors import NotFound
from app.jobs.model import Counts, Item, JobState
from app.jobs.service import DATABASE, JobService
from app.jobs.sqlite_store import SqliteStore
from app.jobs.sweeper import ORPHAN_SECONDS, JobSweeper
from tests.support.configuration import ROOT
from tests.support.job_doubles import FakeEngine, local_jobs
from tests.support.killed_jobs import JOB, PHOTOS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

STORE, FILES, WORK = (
    "app.jobs.sqlite_store:SqliteStore",
    "app.jobs.folder_files:FolderFiles",
    "app.jobs.service:JobService",
)
WINDOWS = [
    (f"{FILES}.sync", "before", 1),
    (f"{FILES}.sync", "after", 1),
    (f"{STORE}.add", "after", 1),
    (f"{STORE}._insert", "after", 1),  # before the transaction ends
    (f"{STORE}.claim", "after", 1),
    (f"{STORE}.claim", "after", PHOTOS),
    (f"{FILES}.read", "after", 2),
    ("pathlib:Path.replace", "before", PHOTOS + 1),  # of the first output
    ("pathlib:Path.replace", "after", PHOTOS + 2),
    (f"{STORE}.finish", "before", 1),
    (f"{STORE}.finish", "after", 3),
    (f"{STORE}._end_if_finished", "before", PHOTOS + 1),
    (f"{STORE}._end_if_finished", "after", PHOTOS + 1),
    (f"{STORE}.finish", "after", PHOTOS),
    (f"{WORK}.delete", "before", 1),
    (f"{STORE}.delete", "after", 1),
    (f"{FILES}.delete_job", "after", 1),
]


def run_until_killed(folder: Path, target: str, when: str, count: int) -> list[str]:
    """Return what the program has reported before its death."""
    command = [sys.executable, "-m", "tests.support.killed_jobs", str(folder), target, when, str(count)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return ended.stdout.split()


@pytest.mark.parametrize(("target", "when", "count"), WINDOWS)
def test_a_sigkill_loses_nothing(tmp_path: Path, target: str, when: str, count: int) -> None:
    reported = run_until_killed(tmp_path, target, when, count)
    store = SqliteStore(tmp_path / DATABASE, 100)
    before = {item.number: item for item in store.items(JOB) if item.outputs}
    was_stored = store.job(JOB) is not None
    store.close()
    engine = FakeEngine()
    service = local_jobs(tmp_path, engine)
    service.start()
    if was_stored:
        check_finished(service, before)
        assert len(engine.requests) == PHOTOS - len(before)
    else:
        assert "accepted" not in reported or "finished" in reported  # it was not accepted yet, or is deleted
        check_gone(service, tmp_path)
    service.stop()


def check_finished(service: JobService, before: Mapping[int, Item]) -> None:
    wait_until(lambda: service.find(JOB, "").state is JobState.DONE)
    job = service.find(JOB, "")
    assert job.counts == Counts(done=PHOTOS)
    for item in service.items(job):
        assert before.get(item.number, item) == item
        (output,) = item.outputs
        assert hashlib.sha256(service.files.read(output.key)).hexdigest() == output.sha256


def check_gone(service: JobService, folder: Path) -> None:
    with pytest.raises(NotFound):
        service.find(JOB, "")
    store = SqliteStore(folder / DATABASE, 100)
    JobSweeper(store, service.files, lambda: time.time() + 2 * ORPHAN_SECONDS).delete_orphans()
    store.close()
    files = folder / "files"
    assert not files.exists() or list(files.iterdir()) == []
