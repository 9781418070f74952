"""Deletion of expired jobs, and of files without a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from app.jobs.errors import JobsUnavailable
from app.jobs.store import JobFiles, JobStore
from app.periodic import PeriodicThread

__all__ = ["JobSweeper"]

log = logging.getLogger("app.jobs")

HOUR = 3600.0
# Age of files from which their job must exist: its upload may take some time.
ORPHAN_SECONDS = 6 * HOUR


class JobSweeper(PeriodicThread):
    """Thread that deletes expired jobs every minute, and files without a job every hour."""

    name, seconds = "job-sweeper", 60.0

    def __init__(self, store: JobStore, files: JobFiles, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._store = store
        self._files = files
        self._clock = clock
        self._next_search = time.monotonic()

    def work(self) -> None:
        """Delete what is due."""
        self._sweep(self.delete_expired, "expired")
        if time.monotonic() >= self._next_search:
            self._sweep(self.delete_orphans, "files without a job")
            self._next_search = time.monotonic() + HOUR

    def delete_expired(self) -> int:
        """Delete the expired jobs with their files and return their number; raise JobsUnavailable or OSError."""
        count = 0
        for job_id in self._store.expired(self._clock()):
            # The state first: files without a job are found later, a job without files is never seen.
            count += self._store.delete(job_id)
            self._files.delete_job(job_id)
        return count

    def delete_orphans(self) -> int:
        """Delete old files without a job and return the number of jobs they had; raise JobsUnavailable or OSError."""
        old = self._files.job_ids(self._clock() - ORPHAN_SECONDS)
        orphans = [job_id for job_id in old if self._store.job(job_id) is None]
        for job_id in orphans:
            self._files.delete_job(job_id)
        return len(orphans)

    def _sweep(self, delete: Callable[[], int], what: str) -> None:
        try:
            if count := delete():
                log.info("jobs.swept jobs=%d (%s)", count, what)
        except JobsUnavailable:  # logged by the store
            pass
        except OSError as error:  # the next sweep tries again
            log.warning("jobs.not_deleted error=%.200r", error)
