"""Jobs of a service that is built by a test: submitted, ended, and held in an engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from app.jobs.model import Job, JobState
from app.jobs.service import JobService
from app.removal import RemovalRequest
from tests.support.job_doubles import upload
from tests.support.jobs import new_job
from tests.support.waiting import wait_until

__all__ = ["A", "Gate", "Make", "ended", "submitted"]

A = "a" * 32
Make = Callable[..., JobService]


def submitted(service: JobService, job_id: str = A, photos: int = 3, **fields: Any) -> Job:
    upload(service, job_id, photos)
    return service.submit(new_job(job_id, photos=photos, **fields))


def ended(service: JobService, job_id: str = A) -> Job:
    wait_until(lambda: service.find(job_id, "").state is JobState.DONE)
    return service.find(job_id, "")


class Gate:
    """Hold photos in an engine until it is opened."""

    def __init__(self) -> None:
        self.opened, self.reached = threading.Event(), threading.Semaphore(0)

    def __call__(self, _: RemovalRequest) -> None:
        self.reached.release()
        assert self.opened.wait(300)
