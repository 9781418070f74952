"""A run: a few threads that take photos, submit them to the engines and write the outputs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.remove.files import is_newer, read_photo, write_whole
from app.cli.remove.outcomes import Failure, Outcome, Tally, printable
from app.engine import submission
from app.engine.submission import BatchSubmitter, Deadline
from app.errors import ModelUnavailable, ServiceError, ShuttingDown
from app.removal import RemovalOptions, RemovalRequest, RemovalResult

__all__ = ["Output", "Photo", "Rules", "Run"]

# Threads beyond the engines: one photo waits for an engine while another one's result is written.
SPARE_THREADS = 2


@dataclass(frozen=True, slots=True)
class Output:
    """An output and its options."""

    target: Path
    options: RemovalOptions


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and its outputs, which are made from one inference."""

    source: Path
    outputs: tuple[Output, ...]

    @property
    def targets(self) -> set[Path]:
        """Return the paths of the outputs."""
        return {output.target for output in self.outputs}


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
        self, submitter: BatchSubmitter, engines: int, rules: Rules, report: Callable[[Outcome, Tally], None]
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
                    self._active -= photo.targets
        except BaseException as error:  # noqa: BLE001  # `work` raises it in the main thread
            self._errors.append(error)
            self.stopped.set()

    def _next(self, photos: Iterator[Photo]) -> Photo | None:
        with self._source:
            photo = None if self.stopped.is_set() else next(photos, None)
            if photo is None or self.stopped.is_set():
                return None
            self._active |= photo.targets
            return photo

    def _handle(self, photo: Photo) -> None:
        """Process a photo; each output has an outcome of its own."""
        outputs = [output for output in photo.outputs if self._is_needed(photo.source, output)]
        if not outputs:
            return
        started = time.monotonic()
        outcomes: Sequence[submission.Outcome | Failure]
        try:
            outcomes = self._submit(photo.source, [output.options for output in outputs])
        except (ServiceError, Failure) as error:
            outcomes = [error] * len(outputs)
        for output, outcome in zip(outputs, outcomes, strict=True):
            self._finish(photo.source, output.target, outcome, started)

    def _is_needed(self, source: Path, output: Output) -> bool:
        """Return whether an output is to be made; record the outcome of any other one."""
        rules, target = self._rules, output.target
        if source == target:
            message = "The output would replace the photo itself; choose another one with -o."
        elif rules.overwrite or not os.path.exists(target):  # Path.exists raises for a name that is too long
            return True
        elif is_newer(target, source):
            self.record(Outcome(source, "skipped", target, message="The output exists and is newer."))
            return False
        elif rules.beside:
            message = f"{printable(target)} exists and is older than the photo; --overwrite replaces it."
        else:
            return True
        self.record(Outcome.failed(source, Failure("OUTPUT_EXISTS", message), target))
        return False

    def _submit(self, source: Path, options: Sequence[RemovalOptions]) -> Sequence[submission.Outcome]:
        image = read_photo(source, self._rules.max_image_bytes)
        request = RemovalRequest(image, options[0], self._rules.background_image, more_options=tuple(options[1:]))
        return self._submitter.submit_all(request, Deadline.from_start(self._rules.timeout))

    def _finish(self, source: Path, target: Path, outcome: submission.Outcome | Failure, started: float) -> None:
        """Write a result and record the outcome."""
        if isinstance(outcome, RemovalResult):
            try:
                write_whole(target, outcome.body)
            except Failure as failure:
                outcome = failure
        if isinstance(outcome, RemovalResult):
            self.record(Outcome.done(source, target, outcome, time.monotonic() - started))
        elif isinstance(outcome, ShuttingDown):  # ended by a second Ctrl-C: the output is left
            self.stopped.set()
        else:
            if isinstance(outcome, ModelUnavailable) or getattr(outcome, "fatal", False):
                self.stopped.set()
            self.record(Outcome.failed(source, outcome, target))
