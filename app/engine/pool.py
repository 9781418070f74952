"""The pool: a bounded queue of photos before a fixed number of engine processes.

Each engine has a keeper, a thread that starts it, feeds it, and replaces it when it ends. The states of an engine are

    starting → idle ⇄ busy → dying → starting …

It is idle once its warm-up has been answered. A request is handed to a free engine only, with what is left of its
deadline; one that is still queued at its deadline never reaches an engine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum

from app.engine.messages import EngineConfig, RemovalRequest, RemovalResult
from app.engine.process import EngineDied, EngineProcess, NotAccepted
from app.errors import (
    DeadlineExceeded,
    EngineCrashed,
    ModelUnavailable,
    QueueFull,
    ServiceError,
    ShuttingDown,
    from_code,
)

__all__ = ["EnginePool", "EngineState", "PoolStatus"]

log = logging.getLogger(__name__)

START_SECONDS = 120.0
# Seconds before an engine that can't start is tried again: doubled each time, up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 10.0
# How often an engine whose model is unavailable looks again, in seconds.
REWARM_SECONDS = 30.0
# How long, in seconds, a request may be overtaken by later ones for the model that an engine has loaded.
PATIENCE = 1.0
# How often a request may meet an engine that was already gone before it fails.
MOST_HANDOVERS = 3


class EngineState(StrEnum):
    """What an engine is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DYING = "dying"


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A snapshot for /health; `ready` counts the engines in which a real inference has succeeded."""

    engines: int
    ready: int
    states: tuple[EngineState, ...]
    pids: tuple[int, ...]
    queued: int
    queue_capacity: int
    closing: bool
    provider: str
    problem: ServiceError | None


class _Job:
    """A request on its way: filled in by a keeper, awaited by the thread that submitted it."""

    def __init__(self, request: RemovalRequest, deadline: float) -> None:
        self.request = request
        self.deadline = deadline
        self.submitted = time.monotonic()
        self.started = self.submitted
        self.handovers = 0
        self.queued = True
        self.done = threading.Event()
        self.result: RemovalResult | None = None
        self.error: ServiceError | None = None

    def succeed(self, result: RemovalResult) -> None:
        waited = round((self.started - self.submitted) * 1000, 2)
        self.result = replace(result, stages_ms={"queue": waited, **result.stages_ms})
        self.done.set()

    def fail(self, error: ServiceError) -> None:
        self.error = error
        self.done.set()


class EnginePool:
    """Hand photos to engines; every failure is a ServiceError of one request."""

    def __init__(self, config: EngineConfig, processes: int, queue_size: int) -> None:
        self._config = config
        self._queue_size = queue_size
        self._changed = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._keepers = [_Keeper(self, config, number) for number in range(processes)]
        self._started = False
        self._closing = False

    def start(self) -> None:
        """Start the engines, once; returns at once, they become ready one by one."""
        with self._changed:
            if self._started:
                return
            self._started = True
        for keeper in self._keepers:
            keeper.start()

    def submit(self, request: RemovalRequest, deadline: float) -> RemovalResult:
        """Wait for a request's result, until `deadline` (monotonic) at most.

        Raise QueueFull at once when too many wait, DeadlineExceeded, ShuttingDown, EngineCrashed, or what the engine
        answers.
        """
        self.start()
        job = _Job(request, deadline)
        with self._changed:
            if self._closing:
                raise ShuttingDown()
            if len(self._queue) >= self._queue_size + self._count(EngineState.IDLE):
                raise QueueFull()
            self._queue.append(job)
            self._changed.notify_all()
        if not job.done.wait(max(0.0, deadline - time.monotonic())):
            self._give_up(job)
        if job.error is not None:
            raise job.error
        if job.result is None:
            raise EngineCrashed()
        return job.result

    def _give_up(self, job: _Job) -> None:
        """Take a late job out of the queue, or wait for its keeper, which keeps the same deadline."""
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                job.fail(DeadlineExceeded(details="The deadline passed while the image waited for a free engine."))
        job.done.wait()

    def status(self) -> PoolStatus:
        """Return a snapshot."""
        with self._changed:
            return PoolStatus(
                engines=len(self._keepers),
                ready=sum(keeper.ready for keeper in self._keepers),
                states=tuple(keeper.state for keeper in self._keepers),
                pids=tuple(keeper.engine.pid for keeper in self._keepers if keeper.engine),
                queued=max(0, len(self._queue) - self._count(EngineState.IDLE)),
                queue_capacity=self._queue_size,
                closing=self._closing,
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
        """Tell whether the pool is being stopped."""
        return self._closing

    def notify(self) -> None:
        """Wake everyone who waits for a change."""
        with self._changed:
            self._changed.notify_all()

    def set_state(self, keeper: _Keeper, state: EngineState) -> None:
        """Note what an engine does and wake everyone who waits for it."""
        with self._changed:
            keeper.state = state
            self._changed.notify_all()

    def next_job(self, keeper: _Keeper, timeout: float | None) -> _Job | None:
        """Wait for a job for this idle engine; None when it has died, the pool closes or `timeout` s have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not keeper.alive or self._choose(keeper), timeout)
            job = None if self._closing or not keeper.alive else self._choose(keeper)
            if job is not None:
                self._queue.remove(job)
                job.queued = False
                keeper.state = EngineState.BUSY
            return job

    def _choose(self, keeper: _Keeper) -> _Job | None:
        """Return the job this idle engine should take: the oldest, unless changing models can be saved."""
        if not self._queue:
            return None
        loaded = {other.model for other in self._keepers if other is not keeper and other.state is EngineState.IDLE}
        oldest = self._queue[0]
        if time.monotonic() - oldest.submitted < PATIENCE:
            for job in self._queue:
                if job.request.options.model == keeper.model:
                    return job
        return None if oldest.request.options.model in loaded - {keeper.model} else oldest

    def put_back(self, job: _Job) -> None:
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


class _Keeper:
    """The thread that keeps one engine."""

    def __init__(self, pool: EnginePool, config: EngineConfig, number: int) -> None:
        self._pool = pool
        self._config = config
        self._thread = threading.Thread(target=self._keep, name=f"engine-keeper-{number}", daemon=True)
        self._ended = threading.Event()
        self.state = EngineState.STARTING
        self.engine: EngineProcess | None = None
        self.model = ""
        self.provider = ""
        self.ready = False
        self.problem: ServiceError | None = None

    @property
    def alive(self) -> bool:
        """Tell whether the engine's process runs."""
        return self.engine is not None and self.engine.alive

    def start(self) -> None:
        """Start keeping."""
        self._thread.start()

    def end(self) -> None:
        """End the engine and the thread; kills what is still running."""
        self._ended.set()
        if engine := self.engine:
            engine.hang_up()
        self._pool.notify()
        self._thread.join(timeout=1.0)
        if self._thread.is_alive() and engine:
            engine.kill()
            self._thread.join(timeout=5.0)

    def _keep(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._pool.closing:
            try:
                self._start_engine()
                backoff = FIRST_BACKOFF
                self._feed()
            except (EngineDied, TimeoutError, OSError) as error:
                log.error("engine lost: %s", error)
            except Exception:  # a keeper that ends would be an engine less until the next restart
                log.exception("engine lost")
            finally:
                failed_to_start = self.state is EngineState.STARTING
                self._end_engine()
            if failed_to_start:
                self._ended.wait(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF)

    def _start_engine(self) -> None:
        self.engine = EngineProcess(self._config, on_exit=self._pool.notify)
        self._learn(self.engine.warm_up(time.monotonic() + START_SECONDS, first=True))
        log.info("engine %d started: model=%s ready=%s", self.engine.pid, self._config.model, self.ready)

    def _learn(self, answer: dict[str, object]) -> None:
        """Note what a warm-up said."""
        self.ready = answer["ready"] is True
        self.model = str(answer.get("model", ""))
        self.provider = str(answer.get("provider", ""))
        problem = answer.get("error")
        self.problem = from_code(**problem) if isinstance(problem, dict) else None

    def _feed(self) -> None:
        """Hand jobs to the engine until it dies or the pool closes."""
        while self.engine is not None and not self._pool.closing:
            self._pool.set_state(self, EngineState.IDLE)
            job = self._pool.next_job(self, None if self.ready else REWARM_SECONDS)
            if job is not None:
                self._work_on(job, self.engine)
            elif not self.engine.alive:
                raise EngineDied(f"engine {self.engine.pid} ended while idle: {self.engine.death}")
            elif not self._pool.closing:
                self._learn(self.engine.warm_up(time.monotonic() + START_SECONDS))

    def _work_on(self, job: _Job, engine: EngineProcess) -> None:
        """Have one job done; raise EngineDied or TimeoutError when the engine must be replaced."""
        job.started = time.monotonic()
        try:
            job.succeed(engine.remove(job.request, job.deadline))
        except NotAccepted:
            self._pool.put_back(job)
            raise
        except EngineDied:
            job.fail(ShuttingDown() if self._pool.closing else EngineCrashed())
            raise
        except TimeoutError as error:
            job.fail(DeadlineExceeded(details="The engine did not finish in time and was replaced."))
            raise TimeoutError(
                f"engine {engine.pid} passed the deadline of request {job.request.request_id}"
            ) from error
        except ServiceError as error:
            job.fail(error)
            if isinstance(error, ModelUnavailable):
                return
        finally:
            if not (job.done.is_set() or job.queued):
                job.fail(EngineCrashed())
        self.model = job.request.options.model
        if self.model == self._config.model:
            self.ready, self.problem = True, None

    def _end_engine(self) -> None:
        self.ready = False
        self._pool.set_state(self, EngineState.DYING)
        if self.engine is not None:
            self.engine.kill()
        self.engine = None
        self._pool.set_state(self, EngineState.STARTING)
