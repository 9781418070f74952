"""Backend of one machine: a few threads in each web worker that feed its engines from the shared state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from app.jobs.alarm import Alarm
from app.jobs.errors import JobsUnavailable
from app.jobs.folder_files import FolderFiles
from app.jobs.model import Job
from app.jobs.processes import Processes
from app.jobs.sqlite_store import SqliteStore
from app.jobs.store import Task
from app.jobs.work import MAX_LOSSES, JobObserver, NotNow, Outcome, Tools, complete, insist, process

__all__ = ["LocalBackend"]

log = logging.getLogger("app.jobs")
T = TypeVar("T")

# Interval of looking for work that another process has accepted, and of looking for ended processes.
POLL_SECONDS, RECOVERY_SECONDS = 1.0, 5.0


class LocalBackend:
    """Threads that claim, process and finish photos, and one that looks for work and for ended processes.

    `stop` waits `grace` seconds for the photos in work.
    """

    def __init__(
        self,
        store: SqliteStore,
        files: FolderFiles,
        tools: Tools,
        processes: Processes,
        observer: JobObserver,
        threads: int,
        grace: float,
    ) -> None:
        self._store = store
        self._files = files
        self._processes = processes
        self._observer = observer
        self._grace = grace
        self._recovery, self._claims = Alarm("recovery"), Alarm("claims")
        self._work = threading.Condition()
        self._news = 0
        self._ready = False
        self._next_recovery = 0.0
        self._stopped = threading.Event()
        self._tools = replace(tools, stopped=self._stopped.is_set)
        self._keeper = threading.Thread(target=self._keep, name="jobs-keeper", daemon=True)
        self._workers = [
            threading.Thread(target=self._run, name=f"jobs-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Start the threads; photos that ended processes have left are queued again first."""
        self._keeper.start()
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Claim no more photos, wait for those in work, and queue the others again."""
        self._stopped.set()
        self._announce()
        end = time.monotonic() + self._grace
        for thread in (self._keeper, *self._workers):
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))
        if self._ready:
            _guarded(lambda: self._store.give_back(self._processes.name, died=False), self._recovery)
            self._processes.leave()

    def submit(self, job: Job) -> None:
        """Wake the threads for a stored job."""
        self._announce()

    def up(self) -> bool | None:
        """Return False while photos cannot be stored or processed, else None: no other program is needed."""
        parts = (self._recovery, self._claims, self._store, self._files)
        return False if any(part.problem for part in parts) else None

    # The thread that looks for work

    def _keep(self) -> None:
        while not self._stopped.is_set():
            _guarded(self._look, self._recovery)
            self._stopped.wait(POLL_SECONDS)

    def _look(self) -> None:
        if time.monotonic() >= self._next_recovery:
            self._recover()
            self._next_recovery = time.monotonic() + RECOVERY_SECONDS
        if self._store.problem:
            self._store.probe()
        if self._files.problem:
            self._files.check()
        if self._store.has_work():
            self._announce()

    def _recover(self) -> None:
        """Queue the photos of ended processes again; from then on this process may claim photos."""
        self._processes.enter()
        ended = [name for name in self._store.processes() if self._processes.has_ended(name)]
        for name in ended:
            if count := self._store.give_back(name, died=True):
                log.warning("jobs.recovered photos=%d process=%s", count, name.partition("-")[0])
        self._processes.clean()
        self._ready = True

    # The threads that work

    def _announce(self) -> None:
        with self._work:
            self._news += 1
            self._work.notify_all()

    def _run(self) -> None:
        while not self._stopped.is_set():
            seen = self._news
            claimed = _guarded(self._claim, self._claims)
            if claimed is None:
                self._await_news(seen)
            else:
                self._handle(*claimed)

    def _await_news(self, seen: int) -> None:
        with self._work:
            self._work.wait_for(lambda: self._news != seen or self._stopped.is_set())

    def _claim(self) -> tuple[Task, int] | None:
        may_claim = self._ready and not self._stopped.is_set()
        return self._store.claim(self._processes.name) if may_claim else None

    def _handle(self, task: Task, deaths: int) -> None:
        job_id, number = task.job.id, task.item.number
        try:
            outcome = self._outcome(task, deaths)
        except NotNow as delay:
            if delay.ending:
                self._stopped.set()
            pause = delay.pause
            insist(lambda: self._store.release(job_id, number, pause), self._stopped)
        else:
            insist(lambda: complete(task, outcome, self._store, self._files, self._observer), self._stopped)

    def _outcome(self, task: Task, deaths: int) -> Outcome:
        if deaths >= MAX_LOSSES:
            return Outcome.lost(f"The service has ended {deaths} times while it processed this photo.")
        return process(task, self._tools)


def _guarded(action: Callable[[], T], alarm: Alarm) -> T | None:
    """Return the result of an action, None after an exception, which is logged once and never ends a thread."""
    try:
        result = action()
    except (JobsUnavailable, BlockingIOError):  # logged by the store; a file that another process examines
        return None
    except Exception as error:  # noqa: BLE001  # logged by the alarm, with its traceback
        alarm.report(f"error={error!r:.200}", None if isinstance(error, OSError) else error)
        return None
    alarm.clear()
    return result
