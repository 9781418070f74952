"""The pool: a bounded queue of photos before a fixed number of engine processes.

Each engine has a keeper, a thread of its own. A request is handed to a free engine only, with what is left of its
deadline; one that is still queued at its deadline never reaches an engine.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.engine.keeper import EngineState, Job, Keeper
from app.engine.messages import EngineConfig
from app.engine.observer import EngineObserver
from app.engine.quarantine import Quarantine
from app.errors import DeadlineExceeded, EngineCrashed, ImageRefused, QueueFull, ServiceError, ShuttingDown
from app.removal import RemovalRequest, RemovalResult

__all__ = ["Abandoned", "EnginePool", "PoolStatus"]

# How long, in seconds, a request may be overtaken by later ones for the model that an engine has loaded.
PATIENCE = 1.0
# How often a request may meet an engine that was already gone before it fails.
MOST_HANDOVERS = 3
# How often, in seconds, a waiting request looks whether its client is still there.
LOOK_SECONDS = 0.25
# Weight of the newest photo in the mean time that an engine takes for one, and the mean before the first.
NEWEST, FIRST_GUESS = 0.2, 0.5


class Abandoned(Exception):
    """The client of a queued request is gone; nobody waits for the result."""


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A snapshot for /health.

    `ready` counts the engines in which a real inference has succeeded, `restarting` those that worked a moment ago and
    are being replaced: photos wait for them.
    """

    engines: int
    ready: int
    restarting: int
    states: tuple[EngineState, ...]
    pids: tuple[int, ...]
    queued: int
    queue_capacity: int
    closing: bool
    service_seconds: float

    @property
    def busy(self) -> int:
        """Return how many engines are at work."""
        return self.states.count(EngineState.BUSY)

    provider: str
    problem: ServiceError | None


class EnginePool:
    """Hand photos to engines; every failure is a ServiceError of one request."""

    def __init__(self, config: EngineConfig, processes: int, queue_size: int) -> None:
        self._config = config
        self._queue_size = queue_size
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._keepers = [Keeper(self, config, number) for number in range(processes)]
        self._started = False
        self._closing = False
        # Set from a signal handler, so without a lock: new work is refused, what was accepted goes on.
        self.draining = False
        self.quarantine = Quarantine()
        self.observer = EngineObserver()
        self.service_seconds = FIRST_GUESS

    def start(self) -> None:
        """Start the engines, once; returns at once, they become ready one by one."""
        with self._changed:
            if self._started:
                return
            self._started = True
        for keeper in self._keepers:
            keeper.start()

    def submit(
        self, request: RemovalRequest, deadline: float, abandoned: Callable[[], bool] = lambda: False
    ) -> RemovalResult:
        """Wait for a request's result, until `deadline` (monotonic) at most.

        Raise QueueFull at once when too many wait, ImageRefused, DeadlineExceeded, ShuttingDown, EngineCrashed, what
        the engine answers, or Abandoned when `abandoned()` comes true while the request is queued.
        """
        self.start()
        if self.quarantine.refuses(request.image, request.background_image):
            raise ImageRefused()
        job = Job(request, deadline)
        with self._changed:
            if self.closing:
                raise ShuttingDown()
            if len(self._queue) >= self._queue_size + self._count(EngineState.IDLE):
                raise QueueFull()
            self._queue.append(job)
            self._changed.notify_all()
        self._await(job, abandoned)
        if job.error is not None:
            raise job.error
        if job.result is None:
            raise EngineCrashed()
        self.observer.removed(request, job.result)
        return job.result

    def _await(self, job: Job, abandoned: Callable[[], bool]) -> None:
        """Wait until a job is done; take it out of the queue when it is late or nobody wants it any more.

        A job that has reached an engine is waited for: its keeper keeps the same deadline.
        """
        while not job.done.wait(LOOK_SECONDS):
            if time.monotonic() >= job.deadline and self._withdraw(job):
                raise DeadlineExceeded(details="The deadline passed while the image waited for a free engine.")
            if job.queued and abandoned() and self._withdraw(job):
                raise Abandoned()

    def _withdraw(self, job: Job) -> bool:
        with self._changed:
            if job not in self._queue:
                return False
            self._queue.remove(job)
            return True

    def status(self) -> PoolStatus:
        """Return a snapshot."""
        with self._changed:
            return PoolStatus(
                engines=len(self._keepers),
                ready=sum(keeper.ready for keeper in self._keepers),
                restarting=sum(keeper.restarting for keeper in self._keepers),
                states=tuple(keeper.state for keeper in self._keepers),
                pids=tuple(keeper.engine.pid for keeper in self._keepers if keeper.engine),
                queued=max(0, len(self._queue) - self._count(EngineState.IDLE)),
                queue_capacity=self._queue_size,
                closing=self.closing,
                service_seconds=self.service_seconds,
                provider=next((keeper.provider for keeper in self._keepers if keeper.ready), ""),
                problem=next((keeper.problem for keeper in self._keepers if keeper.problem), None),
            )

    def stop(self, grace: float = 0.0) -> None:
        """Refuse new work, give what runs `grace` seconds, then end every engine."""
        with self._changed:
            self._closing = True
            while self._queue:
                self._queue.popleft().fail(ShuttingDown())
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._count(EngineState.BUSY), grace)
        for keeper in self._keepers:
            keeper.end()

    def _count(self, state: EngineState) -> int:
        return sum(keeper.state is state for keeper in self._keepers)

    # What follows is for keepers.

    @property
    def closing(self) -> bool:
        """Tell whether the pool takes no more work."""
        return self._closing or self.draining

    @property
    def stopping(self) -> bool:
        """Tell whether engines are being ended."""
        return self._closing

    def note_service(self, seconds: float) -> None:
        """Take one photo's time in an engine into the mean."""
        self.service_seconds += NEWEST * (seconds - self.service_seconds)

    def notify(self) -> None:
        """Wake everyone who waits for a change."""
        with self._changed:
            self._changed.notify_all()

    def set_state(self, keeper: Keeper, state: EngineState) -> None:
        """Note what an engine does and wake everyone who waits for it."""
        with self._changed:
            keeper.state = state
            self._changed.notify_all()

    def next_job(self, keeper: Keeper, timeout: float | None) -> Job | None:
        """Wait for a job for this idle engine; None when it has died, the pool closes or `timeout` s have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not keeper.alive or self._choose(keeper), timeout)
            job = None if self._closing or not keeper.alive else self._choose(keeper)
            if job is not None:
                self._queue.remove(job)
                job.queued = False
                keeper.state = EngineState.BUSY
                self._changed.notify_all()  # the next in line may be another's now
            return job

    def _choose(self, keeper: Keeper) -> Job | None:
        """Return the job this idle engine should take: the oldest, unless changing models can be saved.

        Of several idle engines the first one takes it: its memory and caches are warm, and the others stay small.
        """
        if not self._queue or self._another_comes_first(keeper):
            return None
        loaded = {other.model for other in self._keepers if other is not keeper and other.state is EngineState.IDLE}
        oldest = self._queue[0]
        if time.monotonic() - oldest.submitted < PATIENCE:
            for job in self._queue:
                if job.request.options.model == keeper.model:
                    return job
        return None if oldest.request.options.model in loaded - {keeper.model} else oldest

    def _another_comes_first(self, keeper: Keeper) -> bool:
        before = self._keepers[: self._keepers.index(keeper)]
        return any(
            other.state is EngineState.IDLE and other.ready and other.alive and other.model == keeper.model
            for other in before
        )

    def is_alone(self, keeper: Keeper) -> bool:
        """Tell whether no other engine is at work, nor about to be."""
        with self._changed:
            others = (other for other in self._keepers if other is not keeper)
            return not self._queue and all(other.state is not EngineState.BUSY for other in others)

    def put_back(self, job: Job) -> None:
        """Queue a job again, in front: its engine had died before it took it."""
        job.handovers += 1
        with self._changed:
            if self._closing:
                job.fail(ShuttingDown())
            elif job.handovers >= MOST_HANDOVERS:
                job.fail(EngineCrashed())
            else:
                job.queued = True
                self._queue.appendleft(job)
                self._changed.notify_all()
