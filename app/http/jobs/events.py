"""Server-sent events of a job: its state and all items first, then the changed items.

The stream is polled, not pushed: changes may come from other processes and machines. Between two looks at the job the
server holds no thread; under another server the thread of the request sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic_core import to_json

from app.errors import NotFound
from app.jobs.description import describe
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Job, JobState
from app.jobs.service import JobService
from app.server.flush import Flush

__all__ = ["LOOK_SECONDS", "EventStream", "has_ended"]

# Seconds between two looks at a job, and between two comments while nothing changes.
LOOK_SECONDS, KEEP_ALIVE_SECONDS = 1.0, 15.0
KEEP_ALIVE = b": keep-alive\n\n"
# Milliseconds after which a browser connects again.
RETRY = b"retry: 2000\n\n"
ENDED = frozenset({JobState.DONE, JobState.CANCELLED})


def has_ended(job: Job) -> bool:
    """Return whether the state of a job does not change any more."""
    return job.state in ENDED


@dataclass(slots=True)
class EventStream:
    """Events of a job after a version of it; `sleeps` means that the server does not pause between two pieces."""

    jobs: JobService
    job: Job
    after: int = -1
    sleeps: bool = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield events until the job has ended or is deleted."""
        silent_since = time.monotonic()
        yield RETRY
        while True:
            piece = self._changes()
            if piece and has_ended(self.job):
                yield piece
                return
            if piece or time.monotonic() - silent_since >= KEEP_ALIVE_SECONDS:
                silent_since = time.monotonic()
                piece = piece or KEEP_ALIVE
            yield Flush(piece, pause=LOOK_SECONDS)
            if self.sleeps:
                time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        try:
            self.job = self.jobs.find(self.job.id, self.job.owner)
        except NotFound:
            self.job = replace(self.job, state=JobState.CANCELLED)
        except JobsUnavailable:  # for a moment: look again
            pass

    def _changes(self) -> bytes:
        """Return an event with the items that have changed, nothing if none has."""
        job = self.job
        if job.state is not JobState.CANCELLED and job.version <= self.after:
            return b""
        try:
            items = [] if job.state is JobState.CANCELLED else self.jobs.items(job, self.after)
        except JobsUnavailable:
            return b""
        self.after = job.version
        return b"event: job\nid: %d\ndata: %s\n\n" % (job.version, to_json(describe(job, items)))
