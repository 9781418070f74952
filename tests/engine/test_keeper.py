"""Keeper of one engine, with a fake engine process and a real queue."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from app.engine.job import Job
from app.engine.keeper import FIRST_BACKOFF, LAST_BACKOFF, MAX_FAILED_STARTS, Keeper
from app.engine.messages import EXIT_MEMORY, EXIT_TASKS, EngineConfig
from app.engine.observer import RestartReason
from app.engine.process import NotAccepted
from app.engine.quarantine import STRIKES, Quarantine
from app.engine.queue import MAX_HANDOVERS, EngineState, RemovalQueue
from app.engine.submission import Deadline, Priority
from app.errors import (
    CorruptImage,
    DeadlineExceeded,
    EngineCrashed,
    ModelUnavailable,
    OutOfMemory,
    ServiceError,
    ShuttingDown,
)
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from tests.support.doubles import Recorder
from tests.support.scripted_engines import READY, RESULT, Script, ScriptedEngine, died
from tests.support.waiting import wait_until

REQUEST = RemovalRequest(b"photo", RemovalOptions("lite", 100), b"background")
UNAVAILABLE = {"ready": False, "error": {"code": "MODEL_UNAVAILABLE", "message": "no weights"}}


class Waits(threading.Event):
    """Event that records the timeouts of waits, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return self.is_set()


class Setup:
    """A keeper with all it needs."""

    def __init__(self) -> None:
        self.script = Script()
        self.queue = RemovalQueue(capacity=4, body_slots=4)
        self.observer = Recorder()
        self.quarantine = Quarantine()
        self.keeper = Keeper(0, EngineConfig("lite", 1, 1, 1), self.queue, self.observer, self.quarantine)
        self.queue.attach(self.keeper)
        self.backoffs = self.keeper._ended = Waits()

    def submit(self, *answers: RemovalResult | Exception | str) -> RemovalResult:
        """Submit a request, which engines answer as given."""
        self.script.answers += answers
        return self.queue.run(REQUEST, Deadline.after(300)).outcome()

    def start(self) -> None:
        self.keeper.start()
        wait_until(lambda: self.keeper.state is EngineState.IDLE)

    def wait_for_restart(self, engines: int = 2) -> None:
        wait_until(lambda: len(self.script.engines) == engines and self.keeper.state is EngineState.IDLE)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """A keeper that is not started."""
    setup = Setup()
    monkeypatch.setattr("app.engine.keeper.EngineProcess", setup.script.start_engine)
    yield setup
    setup.queue.close()
    if setup.keeper._thread.is_alive():
        setup.keeper.end()


@pytest.fixture
def started(idle: Setup) -> Setup:
    """A keeper whose engine is idle."""
    idle.start()
    return idle


DEATHS = [
    (died(-signal.SIGSEGV), EngineCrashed, RestartReason.CRASHED),
    (died(-signal.SIGABRT), OutOfMemory, RestartReason.CRASHED),
    (died(-signal.SIGPROF), DeadlineExceeded, RestartReason.DEADLINE),
    (died(1), EngineCrashed, RestartReason.CRASHED),
    (TimeoutError(), DeadlineExceeded, RestartReason.DEADLINE),
    (RuntimeError("a bug"), EngineCrashed, RestartReason.CRASHED),
]


# Answers


def test_a_result_reaches_the_caller_and_its_memory_the_observer(started: Setup) -> None:
    result = started.submit(RESULT)
    assert (result.model, list(result.stages_ms)) == ("lite", ["queue"])
    assert started.observer.megabytes == [50, 70]
    assert started.observer.reasons == []


def test_an_error_of_the_request_does_not_replace_the_engine(started: Setup) -> None:
    with pytest.raises(CorruptImage):
        started.submit(CorruptImage())
    assert started.submit(RESULT).model == "lite"
    assert len(started.script.engines) == 1 and started.keeper.ready


# Failures


@pytest.mark.parametrize(("answer", "error", "reason"), DEATHS)
def test_a_failed_engine_fails_its_job_and_is_replaced(
    answer: Exception, error: type[ServiceError], reason: RestartReason, started: Setup
) -> None:
    with pytest.raises(error):
        started.submit(answer)
    started.wait_for_restart()
    assert started.observer.reasons == [reason]
    assert not started.script.engines[0].alive
    assert started.submit(RESULT).model == "lite"


@pytest.mark.parametrize(("answer", "error", "reason"), DEATHS)
def test_ready_is_cleared_before_the_caller_gets_the_error(
    answer: Exception,
    error: type[ServiceError],
    reason: RestartReason,
    started: Setup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready: list[bool] = []
    fail = Job.fail

    def record(job: Job, error: ServiceError) -> None:
        ready.append(started.keeper.ready)
        fail(job, error)

    monkeypatch.setattr(Job, "fail", record)
    with pytest.raises(error):
        started.submit(answer)
    assert ready == [False]


def test_a_failed_engine_counts_as_restarting_until_it_is_ready(idle: Setup) -> None:
    assert not idle.keeper.restarting
    idle.start()
    restarting: list[bool] = []
    idle.observer.replaced = lambda reason: restarting.append(idle.keeper.restarting)  # type: ignore[method-assign]
    with pytest.raises(EngineCrashed):
        idle.submit(died(-signal.SIGSEGV))
    idle.wait_for_restart()
    assert restarting == [True] and not idle.keeper.restarting


def test_a_job_that_was_not_accepted_is_answered_by_the_next_engine(started: Setup) -> None:
    assert started.submit(died(-signal.SIGSEGV, NotAccepted), RESULT).model == "lite"
    assert len(started.script.engines) == 2
    assert not started.quarantine.refuses(REQUEST)


def test_the_job_of_a_killed_engine_is_answered_by_the_next_engine(started: Setup) -> None:
    assert started.submit(died(-signal.SIGKILL), RESULT).model == "lite"
    assert started.observer.reasons == [RestartReason.KILLED]
    assert not started.quarantine.refuses(REQUEST)


def test_a_second_kill_fails_the_job(started: Setup) -> None:
    with pytest.raises(EngineCrashed):
        started.submit(died(-signal.SIGKILL), died(-signal.SIGKILL))
    assert started.submit(RESULT).model == "lite"


def test_a_job_without_the_time_for_a_retry_fails_at_the_first_kill(
    started: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Job, "may_retry", lambda job: False)
    with pytest.raises(EngineCrashed):
        started.submit(died(-signal.SIGKILL))


def test_a_job_that_no_engine_accepts_fails(started: Setup) -> None:
    with pytest.raises(EngineCrashed):
        started.submit(*[died(-signal.SIGKILL, NotAccepted)] * MAX_HANDOVERS)


@pytest.mark.parametrize(
    ("answer", "error", "refused"),
    [
        (died(-signal.SIGSEGV), EngineCrashed, True),
        (died(-signal.SIGBUS), EngineCrashed, True),
        (died(-signal.SIGABRT), OutOfMemory, True),
        (died(-signal.SIGPROF), DeadlineExceeded, True),
        (TimeoutError(), DeadlineExceeded, True),
        (died(-signal.SIGKILL), EngineCrashed, False),
        (died(1), EngineCrashed, False),
        (CorruptImage(), CorruptImage, False),
    ],
)
def test_images_get_a_strike_when_they_are_the_cause(
    answer: Exception, error: type[ServiceError], refused: bool, started: Setup
) -> None:
    for _ in range(STRIKES):
        with pytest.raises(error):
            started.submit(*[answer] * 2 if getattr(answer, "killed", False) else [answer])
    assert started.quarantine.refuses(REQUEST) is refused


def test_images_get_no_strike_for_a_deadline_that_a_pause_of_the_engine_explains(started: Setup) -> None:
    started.script.cpu_step = 0.0
    for _ in range(STRIKES):
        with pytest.raises(DeadlineExceeded):
            started.submit(TimeoutError())
    assert not started.quarantine.refuses(REQUEST)


def test_images_get_no_strike_for_time_spent_in_the_queue(started: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job, "spent_in_engine", lambda job: False)
    for _ in range(STRIKES):
        with pytest.raises(DeadlineExceeded):
            started.submit(TimeoutError())
    assert not started.quarantine.refuses(REQUEST)


@pytest.mark.parametrize(
    ("status", "reason", "logged"),
    [
        (EXIT_TASKS, RestartReason.TASKS, False),
        (EXIT_MEMORY, RestartReason.MEMORY, False),
        (-signal.SIGKILL, RestartReason.KILLED, True),
        (1, RestartReason.CRASHED, True),
    ],
)
def test_an_engine_that_ends_while_idle_is_replaced(
    status: int, reason: RestartReason, logged: bool, started: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        started.script.engines[0].end(status)
        started.wait_for_restart()
    assert started.observer.reasons == [reason]
    assert ("engine lost" in caplog.text) is logged
    assert started.observer.megabytes == [50, 0, 50]


# Start


def test_starts_that_fail_are_repeated_with_doubled_waits_up_to_a_limit(idle: Setup) -> None:
    failures = 8
    idle.script.warm_ups += [died(1) for _ in range(failures)]
    idle.start()
    expected = [min(FIRST_BACKOFF * 2**number, LAST_BACKOFF) for number in range(failures)]
    assert idle.backoffs.seconds == expected and expected[-1] == LAST_BACKOFF
    assert idle.observer.reasons == [RestartReason.START] * failures


def test_a_successful_start_resets_the_wait(idle: Setup) -> None:
    idle.script.warm_ups += [died(1), died(1), READY, died(1)]
    idle.start()
    idle.script.engines[-1].end(1)
    idle.wait_for_restart(engines=5)
    assert idle.backoffs.seconds == [FIRST_BACKOFF, 2 * FIRST_BACKOFF, FIRST_BACKOFF]


def test_photos_fail_at_once_while_no_engine_can_be_started(idle: Setup) -> None:
    idle.script.warm_ups += [died(1)] * MAX_FAILED_STARTS
    refused = threading.Event()

    def wait(timeout: float | None = None) -> bool:
        return len(idle.script.engines) == MAX_FAILED_STARTS and refused.wait(120)

    idle.backoffs.wait = wait  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as threads:
        queued = threads.submit(idle.submit)
        wait_until(lambda: idle.queue.depth == 1)
        idle.keeper.start()
        assert isinstance(queued.exception(120), ModelUnavailable)
        assert len(idle.script.engines) == MAX_FAILED_STARTS
        with pytest.raises(ModelUnavailable, match="can't be started"):
            idle.submit()
    refused.set()
    wait_until(lambda: idle.keeper.ready)
    assert idle.keeper.start_problem is None and idle.submit(RESULT).model == "lite"


def test_photos_wait_while_a_start_is_tried_again(idle: Setup) -> None:
    idle.script.warm_ups += [died(1)] * (MAX_FAILED_STARTS - 1)
    idle.keeper.start()
    assert idle.submit(RESULT).model == "lite"


def test_an_engine_that_does_not_answer_its_first_warm_up_is_killed(idle: Setup) -> None:
    idle.script.warm_ups.append(TimeoutError())
    idle.start()
    assert idle.script.engines[0].exit_status == -signal.SIGKILL
    assert idle.observer.reasons == [RestartReason.START]


def test_a_process_that_can_not_be_started_is_tried_again(idle: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[EngineConfig] = []

    def start(config: EngineConfig, on_exit: Callable[[], None]) -> ScriptedEngine:
        attempts.append(config)
        if len(attempts) == 1:
            raise OSError("no more processes")
        return idle.script.start_engine(config, on_exit)

    monkeypatch.setattr("app.engine.keeper.EngineProcess", start)
    idle.start()
    assert len(attempts) == 2 and idle.observer.reasons == [RestartReason.START]


# Readiness


def test_an_engine_without_its_model_is_not_ready_and_reports_the_problem(idle: Setup) -> None:
    idle.script.warm_ups.append(UNAVAILABLE)
    idle.start()
    assert not idle.keeper.ready
    assert isinstance(idle.keeper.problem, ModelUnavailable) and str(idle.keeper.problem) == "no weights"


def test_an_engine_without_its_model_is_warmed_up_again(idle: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.keeper.REWARM_SECONDS", 0.01)
    idle.script.warm_ups += [UNAVAILABLE, UNAVAILABLE]
    idle.start()
    wait_until(lambda: idle.keeper.problem is None)
    assert idle.keeper.ready and len(idle.script.engines) == 1


def test_an_engine_that_has_used_its_default_model_is_ready(idle: Setup) -> None:
    idle.script.warm_ups.append(UNAVAILABLE)
    idle.start()
    idle.submit(RESULT)
    wait_until(lambda: idle.keeper.problem is None)
    assert idle.keeper.ready and idle.keeper.model == "lite"


# End


def test_end_kills_an_engine_that_hangs_and_its_caller_learns_of_the_shutdown(started: Setup) -> None:
    with ThreadPoolExecutor(1) as threads:
        submitted = threads.submit(started.submit, "hang")
        wait_until(lambda: started.keeper.state is EngineState.BUSY)
        started.queue.close()
        started.keeper.end()
        assert isinstance(submitted.exception(120), ShuttingDown)
    assert not started.script.engines[0].alive and not started.keeper._thread.is_alive()
    assert started.observer.reasons == []


# Load


@pytest.mark.parametrize(("fast_under_load", "expected"), [(True, [False, True]), (False, [False, False])])
def test_an_engine_learns_whether_the_queue_is_under_load(
    fast_under_load: bool, expected: list[bool], started: Setup
) -> None:
    started.keeper._config = replace(started.keeper._config, fast_under_load=fast_under_load)
    started.submit(RESULT)
    with ExitStack() as admitted:
        for caller in range(4):
            admitted.enter_context(started.queue.admit(caller, Deadline.after(300)))
        started.submit(RESULT)
    assert started.script.fast == expected


def test_a_batch_is_never_answered_by_less_because_of_load(started: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemovalQueue, "under_load", True)
    for priority in Priority:
        started.queue.run(REQUEST, Deadline.after(300), priority).outcome()
    assert started.script.fast == [True, False]


def test_the_time_of_a_batch_does_not_count_for_retry_after(started: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []
    monkeypatch.setattr(started.queue, "record_service", seconds.append)
    started.queue.run(REQUEST, Deadline.after(300), Priority.BATCH).outcome()
    assert seconds == []
    started.submit(RESULT)
    wait_until(lambda: len(seconds) == 1)
