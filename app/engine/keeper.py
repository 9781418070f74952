"""Keeper of one engine: a thread that starts the engine, gives it jobs, and replaces it when it ends.

States of an engine:

    starting → idle ⇄ busy → dying → starting …

The engine becomes idle when it has answered its warm-up.
"""

from __future__ import annotations

import logging
import signal
import threading
import time

from app.engine.job import Job
from app.engine.messages import EXIT_MEMORY, EXIT_TASKS, RECYCLED, EngineConfig
from app.engine.observer import EngineObserver, RestartReason
from app.engine.process import EngineDied, EngineProcess, NotAccepted
from app.engine.quarantine import Quarantine
from app.engine.queue import EngineState, RemovalQueue
from app.engine.submission import Outcome, Priority
from app.errors import (
    DeadlineExceeded,
    EngineCrashed,
    ModelUnavailable,
    OutOfMemory,
    ServiceError,
    ShuttingDown,
    from_code,
)
from app.removal import RemovalResult

__all__ = ["START_SECONDS", "Keeper"]

log = logging.getLogger(__name__)

START_SECONDS = 120.0
# Seconds before the next start of an engine that can't start: doubled each time, up to LAST_BACKOFF.
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 10.0
# Number of starts in a row that fail before photos are refused.
MAX_FAILED_STARTS = 3
# Seconds for which an engine that was ready before counts as restarting.
RESTART_SECONDS = 5.0
# Share of its time for which an engine has used CPU if its photo was the cause of a passed deadline.
BUSY_SHARE = 0.5
# Seconds between two warm-ups of an engine whose model is unavailable.
REWARM_SECONDS = 30.0
REASONS: dict[int | None, RestartReason] = {
    EXIT_TASKS: RestartReason.TASKS,
    EXIT_MEMORY: RestartReason.MEMORY,
    -signal.SIGKILL: RestartReason.KILLED,
    -signal.SIGPROF: RestartReason.DEADLINE,
}


class Keeper:
    """Consumer of the queue; everything except `start` and `end` runs in the keeper's thread."""

    def __init__(
        self,
        number: int,
        config: EngineConfig,
        queue: RemovalQueue,
        observer: EngineObserver,
        quarantine: Quarantine,
    ) -> None:
        self._number = number
        self._config = config
        self._queue = queue
        self._observer = observer
        self._quarantine = quarantine
        self._thread = threading.Thread(target=self._keep, name=f"engine-keeper-{number}", daemon=True)
        self._ended = threading.Event()
        self._last_ready = -RESTART_SECONDS
        self._failed_starts = 0
        self._cause = ""
        self.state = EngineState.STARTING
        self.engine: EngineProcess | None = None
        self.model = ""
        self.provider = ""
        self.ready = False
        self.problem: ServiceError | None = None

    @property
    def alive(self) -> bool:
        """Return whether the engine's process runs."""
        return self.engine is not None and self.engine.alive

    @property
    def restarting(self) -> bool:
        """Return whether an engine that was ready a moment ago is being replaced."""
        return not self.ready and time.monotonic() - self._last_ready < RESTART_SECONDS

    @property
    def start_problem(self) -> ModelUnavailable | None:
        """Return the error for photos while the engine can't be started, None after a single failure."""
        if self._failed_starts < MAX_FAILED_STARTS or self.restarting:
            return None
        return ModelUnavailable(
            f"The engine can't be started ({self._cause}).",
            solution="An operator finds the cause in the log, before 'engine lost'.",
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """End the engine and the thread after the queue was closed; kill the engine if it does not end."""
        self._ended.set()
        if engine := self.engine:
            engine.hang_up()
        self._queue.wake()
        self._thread.join(timeout=1.0)
        if self._thread.is_alive() and engine:
            engine.kill()
            self._thread.join(timeout=5.0)

    def _keep(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._queue.closed:
            late = False
            try:
                self._start_engine()
                backoff = FIRST_BACKOFF
                self._feed()
            except (EngineDied, TimeoutError, OSError) as error:
                late = isinstance(error, TimeoutError)
                if not (self._queue.closed or getattr(error, "code", None) in RECYCLED):
                    log.error("engine lost: %s", error)
            except Exception:  # a keeper that ends would leave the pool one engine short
                log.exception("engine lost")
            finally:
                failed_to_start = self.state is EngineState.STARTING
                self._cause = self.engine.death if self.engine else "no process"
                self._report_replacement(late)
                self._end_engine()
            if failed_to_start:
                self._failed_starts += 1
                self._queue.fail_unless_startable()
                self._ended.wait(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF)

    def _start_engine(self) -> None:
        self.engine = EngineProcess(self._config, on_exit=self._queue.wake)
        self._record_warm_up(self.engine.warm_up(time.monotonic() + START_SECONDS, first=True))
        self._failed_starts = 0
        log.info("engine %d started: model=%s ready=%s", self.engine.pid, self._config.model, self.ready)

    def _report_replacement(self, late: bool) -> None:
        """Report why the engine is being replaced; called before this keeper kills it."""
        if self._queue.closed:
            return
        status = self.engine.exit_status if self.engine is not None else None
        if self.state is EngineState.STARTING:
            reason = RestartReason.START
        elif late:
            reason = RestartReason.DEADLINE
        else:
            reason = REASONS.get(status, RestartReason.CRASHED)
        self._observer.replaced(reason)

    def _record_warm_up(self, answer: dict[str, object]) -> None:
        self.ready = answer["ready"] is True
        self.model = str(answer.get("model", ""))
        self.provider = str(answer.get("provider", ""))
        self._observer.memory_seen(self._number, int(str(answer.get("rss_mb", 0))))
        problem = answer.get("error")
        self.problem = from_code(**problem) if isinstance(problem, dict) else None

    def _feed(self) -> None:
        """Give jobs to the engine until it ends or the queue closes."""
        while self.engine is not None and not self._queue.closed:
            self._queue.set_state(self, EngineState.IDLE)
            job = self._queue.take(self, None if self.ready else REWARM_SECONDS)
            if job is not None:
                self._work_on(job, self.engine)
            elif self.engine.exit_status in RECYCLED:
                return
            elif not self.engine.alive:
                raise EngineDied(f"engine {self.engine.pid} ended while idle: {self.engine.death}")
            elif not self._queue.closed:
                self._record_warm_up(self.engine.warm_up(time.monotonic() + START_SECONDS))

    def _work_on(self, job: Job, engine: EngineProcess) -> None:
        """Process one job; raise EngineDied or TimeoutError when the engine must be replaced."""
        job.started, cpu_before = time.monotonic(), engine.cpu_seconds
        try:
            fast = self._config.fast_under_load and job.priority is Priority.INTERACTIVE and self._queue.under_load
            alone = self._queue.is_alone(self)
            for number, outcome in engine.remove(job.request, job.deadline, alone=alone, fast=fast):
                self._record(job, number, outcome)
        except NotAccepted:
            self._clear_ready()
            self._queue.put_back(job)
            raise
        except EngineDied as death:
            self._end_job_of_dead(job, death)
            raise
        except TimeoutError as error:
            self._fail_late(job, engine.cpu_seconds - cpu_before)
            request_id = job.request.request_id
            raise TimeoutError(f"engine {engine.pid} passed the deadline of request {request_id}") from error
        except BaseException:
            self._clear_ready()
            job.fail(EngineCrashed())
            raise

    def _record(self, job: Job, number: int, outcome: Outcome) -> None:
        """Record one outcome of a job; the time of a batch does not count for Retry-After."""
        if not isinstance(outcome, ModelUnavailable):
            self._record_model(job.request.all_options[number].model)
        if isinstance(outcome, RemovalResult):
            self._observer.memory_seen(self._number, max(outcome.stages_mb.values(), default=0))
        job.answer(outcome, number)
        if isinstance(outcome, RemovalResult) and job.done.is_set() and job.priority is Priority.INTERACTIVE:
            self._queue.record_service(job.seconds)

    def _end_job_of_dead(self, job: Job, death: EngineDied) -> None:
        """Fail or retry the job of an engine that died; native code that reaches the memory cap aborts."""
        self._clear_ready()
        if death.caused_by_work:
            self._quarantine.strike(job.request)
        if self._queue.closed:
            job.fail(ShuttingDown())
        elif death.killed and job.may_retry():
            self._queue.retry(job)
        elif death.decoded_too_long:
            job.fail(
                DeadlineExceeded("The image takes too long to decode.", solution="Save the image as a baseline JPEG.")
            )
        elif death.aborted:
            job.fail(OutOfMemory(details="The engine's memory cap was reached."))
        else:
            job.fail(EngineCrashed())

    def _fail_late(self, job: Job, cpu_seconds: float) -> None:
        """Fail the job at its deadline; it is the cause if the engine computed most of the time, not after a pause."""
        self._clear_ready()
        if job.spent_in_engine() and cpu_seconds >= BUSY_SHARE * (time.monotonic() - job.started):
            self._quarantine.strike(job.request)
        job.fail(DeadlineExceeded(details="The engine did not finish in time and was replaced."))

    def _record_model(self, model: str) -> None:
        """Record the loaded model; an engine that has processed its default model is ready."""
        self.model = model
        if self.model == self._config.model:
            self.ready, self.problem = True, None

    def _clear_ready(self) -> None:
        """Clear `ready`, before the caller gets the error and may request /health/ready."""
        if self.ready:
            self._last_ready = time.monotonic()
        self.ready = False

    def _end_engine(self) -> None:
        self._clear_ready()
        self._queue.set_state(self, EngineState.DYING)
        if self.engine is not None:
            self.engine.kill()
        self.engine = None
        self._observer.memory_seen(self._number, 0)
        self._queue.set_state(self, EngineState.STARTING)
