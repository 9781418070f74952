"""A run: a few threads that take photos, submit them to the engines and write the outputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.cli.remove.files import is_newer, read_photo, write_whole
from app.cli.remove.outcomes import Failure, Outcome, Tally, printable
from app.engine.submission import Deadline, Priority, Submitter
from app.errors import ModelUnavailable, ServiceError, ShuttingDown
from app.removal import RemovalOptions, RemovalRequest

__all__ = ["Photo", "Rules", "Run"]

# Threads beyond the engines: one photo waits for an engine while another one's result is written.
SPARE_THREADS = 2


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo, its output and its options."""

    source: Path
    target: Path
    options: RemovalOptions


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of a run, and its treatment of existing outputs.

    With `beside` outputs are in the photos' folders, where a file of that name may be a photo as well.
    """

    max_image_bytes: int
    timeout: float
    overwrite: bool = False
    beside: bool = False
    background_image: bytes = b""


class Run:
    """Photos in work are bounded by the number of threads, so memory does not grow with the number of photos."""

    def __init__(
        self, submitter: Submitter, engines: int, rules: Rules, report: Callable[[Outcome, Tally], None]
    ) -> None:
        self.tally = Tally()
        self.stopped = threading.Event()
        self._submitter = submitter
        self._rules = rules
        self._report = report
        self._threads = engines + SPARE_THREADS
        self._source = threading.Lock()
        self._outcome = threading.Lock()
        self._active = set[Path]()
        self._errors: list[BaseException] = []

    def work(self, photos: Iterator[Photo], while_waiting: Callable[[], None] = lambda: None) -> None:
        """Process photos until none is left or `stopped` is set; `while_waiting` is called again and again."""
        threads = [
            threading.Thread(target=self._process, args=(photos,), name=f"photos-{number}", daemon=True)
            for number in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                while_waiting()
        if self._errors:
            raise self._errors[0]

    def in_work(self, target: Path) -> bool:
        """Return whether an output is being made."""
        return target in self._active

    def record(self, outcome: Outcome) -> None:
        """Count and report an outcome."""
        with self._outcome:
            self.tally.add(outcome)
            self._report(outcome, self.tally)

    def _process(self, photos: Iterator[Photo]) -> None:
        try:
            while (photo := self._next(photos)) is not None:
                try:
                    self._handle(photo)
                finally:
                    self._active.discard(photo.target)
        except BaseException as error:  # noqa: BLE001  # `work` raises it in the main thread
            self._errors.append(error)
            self.stopped.set()

    def _next(self, photos: Iterator[Photo]) -> Photo | None:
        with self._source:
            photo = None if self.stopped.is_set() else next(photos, None)
            if photo is None or self.stopped.is_set():
                return None
            self._active.add(photo.target)
            return photo

    def _handle(self, photo: Photo) -> None:
        try:
            self.record(self._removed(photo))
        except ShuttingDown:  # ended by a second Ctrl-C: the photo is left
            self.stopped.set()
        except (ServiceError, Failure) as error:
            if isinstance(error, ModelUnavailable) or getattr(error, "fatal", False):
                self.stopped.set()
            self.record(Outcome.failed(photo.source, error))

    def _removed(self, photo: Photo) -> Outcome:
        rules, started = self._rules, time.monotonic()
        if photo.source == photo.target:
            raise Failure("OUTPUT_EXISTS", "The output would replace the photo itself; choose another one with -o.")
        if not rules.overwrite and photo.target.exists():
            if is_newer(photo.target, photo.source):
                return Outcome(photo.source, "skipped", photo.target, message="The output exists and is newer.")
            if rules.beside:
                message = f"{printable(photo.target)} exists and is older than the photo; --overwrite replaces it."
                raise Failure("OUTPUT_EXISTS", message)
        image = read_photo(photo.source, rules.max_image_bytes)
        request = RemovalRequest(image, photo.options, rules.background_image)
        result = self._submitter.submit(request, Deadline.after(rules.timeout), Priority.BATCH)
        write_whole(photo.target, result.body)
        return Outcome.done(photo.source, photo.target, result, time.monotonic() - started)
