"""Doubles for jobs: engines that answer at once, and observers that record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.engine.submission import Deadline, Outcome
from app.errors import ServiceError
from app.fetch.url_fetcher import UrlFetcher
from app.jobs.alarm import Alarm
from app.jobs.folder_files import FolderFiles
from app.jobs.local_backend import LocalBackend
from app.jobs.processes import Processes
from app.jobs.service import JobService
from app.jobs.sqlite_store import SqliteStore
from app.jobs.work import Tools
from app.removal import Box, RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = ["PHOTO", "FakeEngine", "Observed", "local_jobs", "upload"]

PHOTO = b"\x89PNG\r\n\x1a\nphoto "


class Observed:
    """Observer that records its calls."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def job_accepted(self) -> None:
        self.events.append("accepted")

    def job_photo_finished(self, outcome: str) -> None:
        self.events.append(outcome)

    def webhook_sent(self, outcome: str) -> None:
        self.events.append(outcome)


class FakeEngine:
    """Submitter that answers with the photo's bytes reversed; `before` may wait or raise."""

    def __init__(self, before: Callable[[RemovalRequest], None] = lambda _: None) -> None:
        self.before = before
        self.requests: list[RemovalRequest] = []
        self.deadlines: list[Deadline] = []
        self._lock = threading.Lock()

    def submit(self, request: RemovalRequest, deadline: Deadline) -> RemovalResult:
        with self._lock:
            self.requests.append(request)
            self.deadlines.append(deadline)
        self.before(request)
        mimetype = f"image/{request.options.format.lower()}"
        return RemovalResult(request.image[::-1], mimetype, 30, 20, Box(1, 2, 3, 4), 0.9, "lite", {})

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[Outcome]:
        return [self._outcome(single, deadline) for single in request.singles]

    def _outcome(self, request: RemovalRequest, deadline: Deadline) -> Outcome:
        try:
            return self.submit(request, deadline)
        except ServiceError as error:
            return error


def upload(service: JobService, job_id: str, photos: int) -> None:
    """Store the photos of `tests.support.jobs.new_job`."""
    for number in range(1, photos + 1):
        with service.files.create(f"{job_id}/in-{number}") as file:
            file.write(PHOTO + str(number).encode())


def local_jobs(
    folder: Path,
    engine: FakeEngine,
    observer: Observed | None = None,
    threads: int = 2,
    grace: float = 5,
    **settings: Any,
) -> JobService:
    """Return the jobs of the local backend over a pretended engine, not started."""
    observer = observer or Observed()
    configuration = Settings(**settings)
    store, alarm = SqliteStore(folder / "state.db", configuration.jobs_ttl), Alarm("files")
    files, uploads = FolderFiles(folder / "files", alarm), FolderFiles(folder / "files", alarm, durable=False)
    tools = Tools(files, engine, UrlFetcher(configuration), configuration)
    processes = Processes(folder / "processes")
    backend = LocalBackend(store, files, tools, processes, observer, threads, grace)
    return JobService(store, uploads, backend, observer)
