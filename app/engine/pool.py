"""Pool of a fixed number of engine processes, each with a keeper that takes jobs from the queue."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.keeper import Keeper
from app.engine.messages import EngineConfig
from app.engine.observer import EngineObserver
from app.engine.quarantine import Quarantine
from app.engine.queue import EngineState, RemovalQueue
from app.engine.submission import Deadline, Outcome, Priority
from app.errors import ImageRefused, ServiceError
from app.removal import RemovalRequest, RemovalResult

__all__ = ["EnginePool", "PoolStatus"]


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """Snapshot of the engines.

    `ready` is the number of engines in which an inference has succeeded, `restarting` the number of engines that were
    ready a moment ago and are being replaced.
    """

    engines: int
    ready: int
    restarting: int
    states: tuple[EngineState, ...]
    pids: tuple[int, ...]
    provider: str
    problem: ServiceError | None


class EnginePool:
    """Engines of one web worker; each failure affects one request, as a ServiceError."""

    def __init__(
        self, config: EngineConfig, processes: int, queue: RemovalQueue, observer: EngineObserver | None = None
    ) -> None:
        self.queue = queue
        self._observer = observer or EngineObserver()
        self._quarantine = Quarantine()
        self._keepers = [Keeper(number, config, queue, self._observer, self._quarantine) for number in range(processes)]
        for keeper in self._keepers:
            queue.attach(keeper)
        self._lock = threading.Lock()
        self._started = False

    def start(self) -> None:
        """Start the engines unless they are started; return before they are ready."""
        with self._lock:
            if self._started:
                return
            self._started = True
        for keeper in self._keepers:
            keeper.start()

    def submit(
        self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE
    ) -> RemovalResult:
        """Return a request's result; raise ImageRefused or any error of `RemovalQueue.run` and `Job.outcome`."""
        self.start()
        if self._quarantine.refuses(request):
            raise ImageRefused()
        result = self.queue.run(request, deadline, priority).outcome()
        self._observer.removed(request, result)
        return result

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[Outcome]:
        """Return the result or the error for each of a request's options; raise ClientGone while the request waits.

        Those that an engine leaves open when it ends are processed alone: another one may be the cause.
        """
        self.start()
        singles = request.singles
        try:
            together = self._process_together(request, deadline)
        except ServiceError as error:  # of the queue
            return [error] * len(singles)
        return [outcome or self._outcome(single, deadline) for single, outcome in zip(singles, together, strict=True)]

    def _process_together(self, request: RemovalRequest, deadline: Deadline) -> Sequence[Outcome | None]:
        """Return the outcomes of one job for all options; None for those that it leaves open, or must not try."""
        singles = request.singles
        if len(singles) == 1 or any(map(self._quarantine.refuses, (request, *singles))):
            return [None] * len(singles)
        outcomes = self.queue.run(request, deadline, Priority.BATCH).outcomes
        for single, outcome in zip(singles, outcomes, strict=True):
            if isinstance(outcome, RemovalResult):
                self._observer.removed(single, outcome)
        return outcomes

    def _outcome(self, request: RemovalRequest, deadline: Deadline) -> Outcome:
        try:
            return self.submit(request, deadline, Priority.BATCH)
        except ServiceError as error:
            return error

    def status(self) -> PoolStatus:
        """Return a snapshot."""
        keepers = self._keepers
        engines = [keeper.engine for keeper in keepers]  # read each once: its keeper may replace it meanwhile
        return PoolStatus(
            engines=len(keepers),
            ready=sum(keeper.ready for keeper in keepers),
            restarting=sum(keeper.restarting for keeper in keepers),
            states=tuple(keeper.state for keeper in keepers),
            pids=tuple(engine.pid for engine in engines if engine),
            provider=next((keeper.provider for keeper in keepers if keeper.ready), ""),
            problem=next((problem for keeper in keepers if (problem := keeper.start_problem or keeper.problem)), None),
        )

    def stop(self, grace: float = 0.0) -> None:
        """Refuse new work, wait `grace` seconds for busy engines, then end all engines."""
        self.queue.close(grace)
        for keeper in self._keepers if self._started else ():
            keeper.end()
