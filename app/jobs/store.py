"""Interfaces of jobs: storage of their state, storage of their files, and processing of their items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from app.jobs.model import Delivery, Item, ItemError, Job, NewJob, Output

__all__ = ["JobBackend", "JobFiles", "JobStore", "QueueState", "Task", "unfinished_seconds"]


WEEK = 7 * 86_400.0


def unfinished_seconds(ttl: float) -> float:
    """Return the seconds from the beginning of a job after which it is deleted even if it has not ended."""
    return max(7 * ttl, WEEK)


@dataclass(frozen=True, slots=True)
class Task:
    """A photo that this process has taken: its item, and the job that it belongs to."""

    job: Job
    item: Item


@dataclass(frozen=True, slots=True)
class QueueState:
    """Photos that wait or are in work, and the age in seconds of the oldest waiting one, 0 without any.

    `workers` is the number of living processes that work on them; a local backend is one.
    """

    queued: int
    running: int
    oldest_seconds: float
    workers: int = 1


class JobStore(Protocol):
    """State of all jobs; thread-safe; every change is durable when the method returns.

    Every method raises JobsUnavailable when the state cannot be read or written.
    """

    def add(self, job: NewJob) -> Job:
        """Store a job; of an idempotency key that its client has used, return the earlier job instead."""

    def job(self, job_id: str) -> Job | None:
        """Return a job, None for an unknown or deleted one."""

    def jobs_of(self, owner: str) -> Sequence[Job]:
        """Return the jobs of an API key, the newest first."""

    def items(self, job_id: str, changed_after: int = -1) -> Sequence[Item]:
        """Return the items of a job in order, or those changed after a version of the job."""

    def item(self, job_id: str, number: int) -> Item | None:
        """Return one item."""

    def finish(self, job_id: str, number: int, outputs: Sequence[Output], error: ItemError | None) -> bool:
        """Store the outcome of an item; with its last item the job ends, and its webhook is due.

        Return False, and change nothing, if the job is deleted or the item is finished already.
        """

    def release(self, job_id: str, number: int) -> None:
        """Queue a running item again."""

    def delete(self, job_id: str) -> bool:
        """Delete a job with its items; return whether it existed."""

    def expired(self, now: float) -> Sequence[str]:
        """Return the ids of the jobs to delete."""

    def take_delivery(self, now: float, lease_seconds: float) -> Delivery | None:
        """Return a webhook that is due and reserve it for some seconds, None for none."""

    def end_delivery(self, job_id: str, next_at: float | None) -> None:
        """Store the outcome of an attempt: time of the next one, None for no other."""

    def queue_state(self, now: float) -> QueueState:
        """Return the state of the queue of all jobs."""

    def close(self) -> None:
        """Close connections and files."""


class JobFiles(Protocol):
    """Photos and results of jobs; keys are `JOB_ID/name`, with names of letters, digits, '-', '.' and '_'.

    Every method raises OSError.
    """

    def create(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Return a file to write; it appears under its key when the block ends without an exception."""

    def sync(self, keys: Sequence[str]) -> None:
        """Make files durable."""

    def read(self, key: str) -> bytes:
        """Return a file's content."""

    def chunks(self, key: str) -> Iterable[bytes]:
        """Yield a file's content in pieces of at most 1 MB; the file is opened before the first."""

    def delete_job(self, job_id: str) -> None:
        """Delete all files of a job; also if there are none."""

    def job_ids(self, older_than: float) -> Sequence[str]:
        """Return the ids of jobs with files that were all written before a time."""

    def check(self) -> None:
        """Raise OSError if files cannot be written and read now; a success before a failed read does not count."""


class JobBackend(Protocol):
    """Processing of the queued items of all jobs."""

    def start(self) -> None:
        """Begin, and go on with what an earlier process has left."""

    def stop(self) -> None:
        """End; items in work are queued again or finished."""

    def submit(self, job: Job) -> None:
        """Process the queued items of a stored job, without waiting for it."""

    def up(self) -> bool | None:
        """Return whether jobs are processed, None where no other program is needed for that."""
