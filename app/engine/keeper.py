"""The keeper of one engine: a thread that starts it, feeds it, and replaces it when it ends.

The states of an engine are

    starting → idle ⇄ busy → dying → starting …

It is idle once its warm-up has been answered.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from app.engine.messages import EXIT_MEMORY, EXIT_TASKS, RECYCLED, EngineConfig
from app.engine.observer import RestartReason
from app.engine.process import EngineDied, EngineProcess, NotAccepted
from app.errors import (
    DeadlineExceeded,
    EngineCrashed,
    ModelUnavailable,
    OutOfMemory,
    ServiceError,
    ShuttingDown,
    from_code,
)
from app.removal import RemovalRequest, RemovalResult

if TYPE_CHECKING:
    from app.engine.pool import EnginePool

__all__ = ["EngineState", "Job", "Keeper"]

log = logging.getLogger(__name__)

START_SECONDS = 120.0
# Seconds before an engine that can't start is tried again: doubled each time, up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 10.0
# How long an engine that worked may take to be replaced before it counts as missing.
RESTART_SECONDS = 5.0
# How often an engine whose model is unavailable looks again, in seconds.
REWARM_SECONDS = 30.0
REASONS: dict[int | None, RestartReason] = {
    EXIT_TASKS: RestartReason.TASKS,
    EXIT_MEMORY: RestartReason.MEMORY,
    -signal.SIGKILL: RestartReason.KILLED,
}


class EngineState(StrEnum):
    """What an engine is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DYING = "dying"


class Job:
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
        self.seconds = 0.0

    def had_its_time(self) -> bool:
        """Tell whether it was in the engine, rather than in the queue, that the time went."""
        return self.deadline - self.started >= (self.deadline - self.submitted) / 2

    def succeed(self, result: RemovalResult) -> None:
        """Hand over the result, with the time it waited."""
        waited = round((self.started - self.submitted) * 1000, 2)
        self.seconds = time.monotonic() - self.started
        self.result = replace(result, stages_ms={"queue": waited, **result.stages_ms})
        self.done.set()

    def fail(self, error: ServiceError) -> None:
        """Hand over why there is no result."""
        self.error = error
        self.done.set()


class Keeper:
    """The thread that keeps one engine."""

    def __init__(self, pool: EnginePool, config: EngineConfig, number: int) -> None:
        self._pool = pool
        self._config = config
        self._number = number
        self._thread = threading.Thread(target=self._keep, name=f"engine-keeper-{number}", daemon=True)
        self._ended = threading.Event()
        self.state = EngineState.STARTING
        self.engine: EngineProcess | None = None
        self.model = ""
        self.provider = ""
        self.ready = False
        self.last_ready = -RESTART_SECONDS
        self.problem: ServiceError | None = None

    @property
    def alive(self) -> bool:
        """Tell whether the engine's process runs."""
        return self.engine is not None and self.engine.alive

    @property
    def restarting(self) -> bool:
        """Tell whether an engine that worked a moment ago is being replaced."""
        return not self.ready and time.monotonic() - self.last_ready < RESTART_SECONDS

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
        while not self._pool.stopping:
            late = False
            try:
                self._start_engine()
                backoff = FIRST_BACKOFF
                self._feed()
            except (EngineDied, TimeoutError, OSError) as error:
                late = isinstance(error, TimeoutError)
                if not (self._pool.stopping or getattr(error, "code", None) in RECYCLED):
                    log.error("engine lost: %s", error)
            except Exception:  # a keeper that ends would be an engine less until the next restart
                log.exception("engine lost")
            finally:
                failed_to_start = self.state is EngineState.STARTING
                self._tell_why(late)
                self._end_engine()
            if failed_to_start:
                self._ended.wait(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF)

    def _start_engine(self) -> None:
        self.engine = EngineProcess(self._config, on_exit=self._pool.notify)
        self._learn(self.engine.warm_up(time.monotonic() + START_SECONDS, first=True))
        log.info("engine %d started: model=%s ready=%s", self.engine.pid, self._config.model, self.ready)

    def _tell_why(self, late: bool) -> None:
        """Have the pool's observer know why the engine, not yet ended by us, is about to be replaced."""
        if self._pool.stopping:
            return
        status = self.engine.exit_status if self.engine is not None else None
        if self.state is EngineState.STARTING:
            reason = RestartReason.START
        elif late:
            reason = RestartReason.DEADLINE
        else:
            reason = REASONS.get(status, RestartReason.CRASHED)
        self._pool.observer.replaced(reason)

    def _learn(self, answer: dict[str, object]) -> None:
        """Note what a warm-up said."""
        self.ready = answer["ready"] is True
        self.model = str(answer.get("model", ""))
        self.provider = str(answer.get("provider", ""))
        self._pool.observer.memory_seen(self._number, int(str(answer.get("rss_mb", 0))))
        problem = answer.get("error")
        self.problem = from_code(**problem) if isinstance(problem, dict) else None

    def _feed(self) -> None:
        """Hand jobs to the engine until it dies or the pool closes."""
        while self.engine is not None and not self._pool.stopping:
            self._pool.set_state(self, EngineState.IDLE)
            job = self._pool.next_job(self, None if self.ready else REWARM_SECONDS)
            if job is not None:
                self._work_on(job, self.engine)
            elif self.engine.exit_status in RECYCLED:
                return
            elif not self.engine.alive:
                raise EngineDied(f"engine {self.engine.pid} ended while idle: {self.engine.death}")
            elif not self._pool.stopping:
                self._learn(self.engine.warm_up(time.monotonic() + START_SECONDS))

    def _work_on(self, job: Job, engine: EngineProcess) -> None:
        """Have one job done; raise EngineDied or TimeoutError when the engine must be replaced."""
        job.started = time.monotonic()
        try:
            result = engine.remove(job.request, job.deadline, alone=self._pool.is_alone(self))
            self._pool.observer.memory_seen(self._number, max(result.stages_mb.values(), default=0))
            job.succeed(result)
            self._pool.note_service(job.seconds)
        except NotAccepted:
            self._pool.put_back(job)
            raise
        except EngineDied as death:
            self._note_loss()
            if death.of_its_own_accord:
                self._pool.quarantine.strike(job.request.image, job.request.background_image)
            job.fail(ShuttingDown() if self._pool.stopping else _as_seen_by_the_caller(death))
            raise
        except TimeoutError as error:
            self._note_loss()
            if job.had_its_time():
                self._pool.quarantine.strike(job.request.image, job.request.background_image)
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

    def _note_loss(self) -> None:
        """Be ready no more, before the caller hears of it: who then asks for /health/ready must not be told so."""
        if self.ready:
            self.last_ready = time.monotonic()
        self.ready = False

    def _end_engine(self) -> None:
        self._note_loss()
        self._pool.set_state(self, EngineState.DYING)
        if self.engine is not None:
            self.engine.kill()
        self.engine = None
        self._pool.observer.memory_seen(self._number, 0)
        self._pool.set_state(self, EngineState.STARTING)


def _as_seen_by_the_caller(death: EngineDied) -> ServiceError:
    """Return the error of a request whose engine died: an abort is how native code runs into the memory cap."""
    return OutOfMemory(details="The engine's memory cap was reached.") if death.aborted else EngineCrashed()
