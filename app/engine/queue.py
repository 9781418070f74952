"""Queue of requests for the engines: capacity, order, memory for bodies, deadlines and model affinity.

A request over HTTP is admitted first: it holds one of `capacity` places from its headers to its answer, and one of
fewer body slots from before its body is read, so that waiting requests hold no memory. Then it becomes a job, which an
idle engine takes. Interactive jobs go before batch jobs, each in order of arrival, except that a loaded model is
preferred for a short time. A job that is still queued at its deadline never reaches an engine.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from app.engine.job import Job
from app.engine.models import affinity
from app.engine.reservations import Reservations
from app.engine.submission import ClientGone, Deadline, Priority
from app.errors import DeadlineExceeded, EngineCrashed, QueueFull, ServiceError, ShuttingDown
from app.removal import RemovalRequest

__all__ = ["Consumer", "EngineState", "RemovalQueue"]

# Seconds for which later jobs for the loaded model of an engine may overtake a job.
AFFINITY_SECONDS = 1.0
# Number of engines that may end before they accept a job; then the job fails.
MAX_HANDOVERS = 3
# Weight of the latest photo in the mean service time, and the mean before the first photo, in seconds.
LATEST_WEIGHT, INITIAL_SERVICE_SECONDS = 0.2, 0.5


class EngineState(StrEnum):
    """Activity of an engine."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DYING = "dying"


class Consumer(Protocol):
    """An engine as the queue sees it; `state` is set by the queue, under its lock."""

    state: EngineState
    model: str
    ready: bool

    @property
    def start_problem(self) -> ServiceError | None:
        """Return the error for requests while the engine can't be started, else None."""

    @property
    def alive(self) -> bool:
        """Return whether the engine's process runs."""


class RemovalQueue:
    """Queue of one web worker; `capacity` includes the requests in engines."""

    def __init__(self, capacity: int, body_slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # signals a change of jobs or engines
        self._bodies = threading.Condition(self._lock)  # signals a free body slot or a new first ticket
        self._taken = 0
        self._free_body_slots = body_slots
        self._body_tickets: deque[object] = deque()
        self._jobs: list[Job] = []
        self._consumers: list[Consumer] = []
        self._reservations = Reservations(capacity)
        self._service_seconds = INITIAL_SERVICE_SECONDS
        self._closed = False
        self._draining = False

    # Methods for callers

    @contextmanager
    def admit(self, caller: Hashable, deadline: Deadline) -> Iterator[None]:
        """Hold a place and a body slot for the block.

        `caller` identifies a request that is sent again after a refusal. Raise QueueFull (without waiting, with
        Retry-After), ShuttingDown, DeadlineExceeded or ClientGone.
        """
        self._take_place(caller)
        try:
            self._take_body_slot(deadline)
            try:
                yield
            finally:
                with self._lock:
                    self._free_body_slots += 1
                    self._bodies.notify_all()
        finally:
            with self._lock:
                self._taken -= 1

    def run(self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE) -> Job:
        """Process a request in an engine and return the finished job.

        Raise DeadlineExceeded or ClientGone while it is queued, ShuttingDown, or ModelUnavailable, at once, if no
        engine can be started.
        """
        job = Job(request, deadline, priority)
        with self._lock:
            if self.closing:
                raise ShuttingDown()
            if problem := self._start_problem():
                raise problem
            self._jobs.append(job)
            self._work.notify_all()
        self._await(job)
        return job

    def _take_place(self, caller: Hashable) -> None:
        if self.closing:
            raise ShuttingDown()
        with self._lock:
            now = self._clock()
            ready = sum(consumer.ready for consumer in self._consumers)
            seconds_per_place = self._service_seconds / max(1, ready)
            redeemed = self._reservations.redeem(caller, now)
            # Reservations count only while all engines are busy: an idle engine must not wait for a retry.
            all_busy = self._taken >= len(self._consumers)
            kept = self._reservations.kept_from(redeemed, now, seconds_per_place) if all_busy else 0
            if self.capacity - self._taken <= kept:
                raise QueueFull(retry_after=self._reservations.reserve(caller, redeemed, now, seconds_per_place))
            self._taken += 1

    def _take_body_slot(self, deadline: Deadline) -> None:
        ticket = object()
        with self._lock:
            self._body_tickets.append(ticket)
            try:
                deadline.wait(
                    lambda timeout: self._bodies.wait_for(
                        lambda: self._free_body_slots > 0 and self._body_tickets[0] is ticket, timeout
                    ),
                    late="The deadline passed before the image could be read.",
                )
                self._free_body_slots -= 1
            finally:
                self._body_tickets.remove(ticket)
                self._bodies.notify_all()

    def _await(self, job: Job) -> None:
        """Wait until a job is done; withdraw it from the queue at its deadline or when its client is gone.

        The wait for a job in an engine continues: its keeper enforces the same deadline.
        """
        while not job.done.is_set():
            try:
                job.deadline.wait(job.done.wait, late="The deadline passed while the image waited for a free engine.")
            except (DeadlineExceeded, ClientGone):
                if self._withdraw(job):
                    raise

    def _withdraw(self, job: Job) -> bool:
        with self._lock:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            return True

    # Methods for observers

    @property
    def depth(self) -> int:
        """Return the number of requests that wait for an engine, including those whose bodies are being read."""
        with self._lock:
            return self._depth(len(self._jobs))

    @property
    def under_load(self) -> bool:
        """Return whether interactive requests take more than half of the places for waiting requests."""
        with self._lock:
            depth = self._depth(sum(job.priority is Priority.INTERACTIVE for job in self._jobs))
        return 2 * depth > self.capacity - len(self._consumers)

    @property
    def closing(self) -> bool:
        """Return whether new work is refused."""
        return self._closed or self._draining

    @property
    def closed(self) -> bool:
        """Return whether the engines are being ended."""
        return self._closed

    # Methods for the owner

    def drain(self) -> None:
        """Refuse new work and finish accepted requests; takes no lock, so that a signal handler may call it."""
        self._draining = True

    def close(self, grace: float = 0.0) -> None:
        """Refuse new work, fail queued jobs, and wait `grace` seconds for busy engines."""
        with self._lock:
            self._closed = True
            while self._jobs:
                self._jobs.pop().fail(ShuttingDown())
            self._work.notify_all()
            self._work.wait_for(lambda: not self._count(EngineState.BUSY), grace)

    # Methods for keepers

    def attach(self, consumer: Consumer) -> None:
        """Add an engine; of several idle engines the first attached takes a job."""
        with self._lock:
            self._consumers.append(consumer)

    def set_state(self, consumer: Consumer, state: EngineState) -> None:
        """Set an engine's state and wake all keepers."""
        with self._lock:
            consumer.state = state
            self._work.notify_all()

    def wake(self) -> None:
        """Wake all keepers, so that they check their engines."""
        with self._lock:
            self._work.notify_all()

    def take(self, consumer: Consumer, timeout: float | None) -> Job | None:
        """Wait for a job for this idle engine; return None when it has died, on close, or after `timeout` seconds."""
        with self._lock:
            self._work.wait_for(lambda: self._closed or not consumer.alive or self._choose(consumer), timeout)
            job = None if self._closed or not consumer.alive else self._choose(consumer)
            if job is not None:
                self._jobs.remove(job)
                consumer.state = EngineState.BUSY
                self._work.notify_all()  # another engine may now take the next job
            return job

    def put_back(self, job: Job) -> None:
        """Queue a job again, in front, after its engine died without accepting it."""
        job.handovers += 1
        if job.handovers >= MAX_HANDOVERS:
            job.fail(EngineCrashed())
        else:
            self._requeue(job)

    def retry(self, job: Job) -> None:
        """Queue a job again, in front, after its engine was killed from outside: engines have no side effects."""
        job.retried = True
        self._requeue(job)

    def _requeue(self, job: Job) -> None:
        with self._lock:
            if self._closed:
                job.fail(ShuttingDown())
            else:
                self._jobs.insert(0, job)
                self._work.notify_all()

    def fail_unless_startable(self) -> None:
        """Fail queued jobs if no engine can be started."""
        with self._lock:
            while self._jobs and (problem := self._start_problem()):
                self._jobs.pop().fail(problem)

    def record_service(self, seconds: float) -> None:
        """Update the mean service time with one photo's time in an engine."""
        self._service_seconds += LATEST_WEIGHT * (seconds - self._service_seconds)

    def is_alone(self, consumer: Consumer) -> bool:
        """Return whether no other engine is busy and no job is queued."""
        with self._lock:
            others = (other for other in self._consumers if other is not consumer)
            return not self._jobs and all(other.state is not EngineState.BUSY for other in others)

    def _choose(self, consumer: Consumer) -> Job | None:
        """Return the job for this idle engine: the oldest of the highest priority, or one for its loaded model."""
        if not self._jobs or self._another_is_preferred(consumer):
            return None
        urgency = min(job.priority for job in self._jobs)
        urgent = [job for job in self._jobs if job.priority == urgency]
        oldest = urgent[0]
        if time.monotonic() - oldest.submitted < AFFINITY_SECONDS:
            for job in urgent:
                if job.affinity == affinity(consumer.model):
                    return job
        idle = {affinity(other.model) for other in self._consumers if other.state is EngineState.IDLE}
        return None if oldest.affinity in idle - {affinity(consumer.model)} else oldest

    def _another_is_preferred(self, consumer: Consumer) -> bool:
        """Return whether an earlier attached engine with the same models is idle: its caches are warm."""
        earlier = self._consumers[: self._consumers.index(consumer)]
        return any(
            other.state is EngineState.IDLE
            and other.ready
            and other.alive
            and affinity(other.model) == affinity(consumer.model)
            for other in earlier
        )

    def _start_problem(self) -> ServiceError | None:
        problems = [consumer.start_problem for consumer in self._consumers]
        return problems[0] if problems and all(problems) else None

    def _depth(self, jobs: int) -> int:
        queued = max(0, jobs - self._count(EngineState.IDLE))
        return max(queued, self._taken - self._count(EngineState.BUSY))

    def _count(self, state: EngineState) -> int:
        return sum(consumer.state is state for consumer in self._consumers)
