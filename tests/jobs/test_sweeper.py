"""Deletion of expired jobs and of files without a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.jobs.errors import JobsUnavailable
from app.jobs.folder_files import FolderFiles
from app.jobs.sqlite_store import SqliteStore
from app.jobs.store import unfinished_seconds
from app.jobs.sweeper import ORPHAN_SECONDS, JobSweeper
from tests.support.clock import Clock
from tests.support.job_stores import TTL
from tests.support.jobs import new_job
from tests.support.waiting import wait_until

A, B = "a" * 32, "b" * 32


class Kept:
    """State, files and their sweeper."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder / "files"
        self.files = FolderFiles(self.folder)
        self.store = SqliteStore(folder / "state.db", TTL, self.clock)
        self.sweeper = JobSweeper(self.store, self.files, self.clock)

    def write(self, job_id: str) -> None:
        """Write a photo at the time of the clock."""
        with self.files.create(f"{job_id}/in-1") as file:
            file.write(b"photo")
        for path in (self.folder / job_id, self.folder / job_id / "in-1"):
            os.utime(path, (self.clock.now, self.clock.now))

    def job_ids(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_an_ended_job_is_deleted_with_its_files_after_its_time(kept: Kept) -> None:
    for job_id in (A, B):
        kept.store.add(new_job(job_id, photos=1))
        kept.write(job_id)
    kept.store.finish(A, 1, [], None)
    kept.clock.now += TTL - 1
    assert kept.sweeper.delete_expired() == 0
    kept.clock.now += 1
    assert kept.sweeper.delete_expired() == 1
    assert kept.store.job(A) is None
    assert kept.job_ids() == [B]


def test_a_job_that_never_ends_is_deleted_in_the_end(kept: Kept) -> None:
    kept.store.add(new_job(A))
    kept.write(A)
    kept.clock.now += unfinished_seconds(TTL)
    assert kept.sweeper.delete_expired() == 1
    assert kept.job_ids() == []


def test_old_files_without_a_job_are_deleted(kept: Kept) -> None:
    kept.write(A)
    kept.store.add(new_job(B))
    kept.write(B)
    assert kept.sweeper.delete_orphans() == 0
    kept.clock.now += ORPHAN_SECONDS + 1
    kept.write("c" * 32)  # an upload that is not complete yet
    assert kept.sweeper.delete_orphans() == 1
    assert kept.job_ids() == [B, "c" * 32]


def test_a_clock_set_back_deletes_nothing(kept: Kept) -> None:
    kept.store.add(new_job(A, photos=1))
    kept.write(A)
    kept.store.finish(A, 1, [], None)
    kept.clock.now -= 86_400
    assert (kept.sweeper.delete_expired(), kept.sweeper.delete_orphans()) == (0, 0)


def test_the_thread_sweeps_at_its_start(kept: Kept) -> None:
    kept.write(A)
    kept.clock.now += ORPHAN_SECONDS + 1
    kept.sweeper.start()
    wait_until(lambda: kept.job_ids() == [])
    kept.sweeper.stop()


def test_a_damaged_state_deletes_no_file(kept: Kept, tmp_path: Path) -> None:
    kept.write(A)
    (tmp_path / "state.db").write_bytes(b"not a database" * 1000)
    kept.clock.now += ORPHAN_SECONDS + 1
    with pytest.raises(JobsUnavailable):
        kept.sweeper.delete_orphans()
    assert kept.job_ids() == [A]
