"""Jobs in the queue: their order, the end of a wait, and the load, with fake engines."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack

import pytest

from app.engine import queue as queue_module
from app.engine.job import Job
from app.engine.queue import MAX_HANDOVERS, EngineState, RemovalQueue
from app.engine.submission import ClientGone, Deadline, Priority
from app.errors import DeadlineExceeded, EngineCrashed, ModelUnavailable, ShuttingDown
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult
from tests.support.consumers import Engine
from tests.support.waiting import in_thread, wait_until

BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE
RESULT = RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, "lite", {})


def request_of(name: str, model: str = "lite") -> RemovalRequest:
    return RemovalRequest(b"", RemovalOptions(model, 100), request_id=name)


class JobQueue:
    """A queue with jobs submitted by separate threads, in a known order."""

    def __init__(self, *engines: Engine) -> None:
        self.queue = RemovalQueue(capacity=20, body_slots=20)
        for engine in engines:
            self.queue.attach(engine)

    def submit(
        self,
        name: str,
        *,
        model: str = "lite",
        priority: Priority = INTERACTIVE,
        seconds: float = 300,
        client_gone: bool = False,
    ) -> Future[RemovalResult]:
        waiting = len(self.queue._jobs)
        request = request_of(name, model)
        deadline = Deadline(Deadline.after(seconds).at, lambda: client_gone)
        future = in_thread(self.process, request, deadline, priority)
        wait_until(lambda: len(self.queue._jobs) > waiting or future.done())
        return future

    def process(self, request: RemovalRequest, deadline: Deadline, priority: Priority = INTERACTIVE) -> RemovalResult:
        return self.queue.run(request, deadline, priority).outcome()

    def take(self, engine: Engine, timeout: float = 0.01) -> Job | None:
        """Return the job that the engine, idle again, gets."""
        self.queue.set_state(engine, EngineState.IDLE)
        return self.queue.take(engine, timeout)

    def order(self, engine: Engine) -> list[str]:
        """Process all jobs in one engine and return their names in order."""
        names = []
        while (job := self.take(engine)) is not None:
            names.append(job.request.request_id)
            engine.model = job.model
            job.answer(RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, job.model, {}))
        return names


@pytest.fixture
def affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the preference of a loaded model last for the whole test."""
    monkeypatch.setattr(queue_module, "AFFINITY_SECONDS", 60.0)


@pytest.fixture
def no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the preference of a loaded model."""
    monkeypatch.setattr(queue_module, "AFFINITY_SECONDS", 0.0)


def test_jobs_are_taken_in_order_of_arrival() -> None:
    engine = Engine()
    jobs = JobQueue(engine)
    results = [jobs.submit(name) for name in "abc"]
    assert jobs.order(engine) == ["a", "b", "c"]
    assert [result.result(120).model for result in results] == ["lite"] * 3


def test_interactive_requests_always_go_before_a_batch() -> None:
    engine = Engine()
    jobs = JobQueue(engine)
    for name in ("batch 1", "batch 2"):
        jobs.submit(name, priority=BATCH)
    for name in ("a", "b"):
        jobs.submit(name)
    assert jobs.order(engine) == ["a", "b", "batch 1", "batch 2"]


@pytest.mark.usefixtures("affinity")
def test_a_batch_for_the_loaded_model_does_not_overtake_an_interactive_request() -> None:
    engine = Engine(model="u2net")
    jobs = JobQueue(engine)
    jobs.submit("batch", model="u2net", priority=BATCH)
    jobs.submit("interactive", model="lite")
    assert jobs.order(engine) == ["interactive", "batch"]


def test_batches_need_no_place() -> None:
    jobs = JobQueue(Engine())
    for number in range(19):
        jobs.submit(str(number), priority=BATCH)
    assert jobs.queue._taken == 0
    jobs.queue.close()


@pytest.mark.usefixtures("affinity")
def test_the_loaded_model_is_preferred_for_a_short_time() -> None:
    engine = Engine(model="u2net")
    jobs = JobQueue(engine)
    for name, model in (("a", "lite"), ("b", "u2net"), ("c", "lite")):
        jobs.submit(name, model=model)
    assert jobs.order(engine) == ["b", "a", "c"]


@pytest.mark.usefixtures("no_affinity")
def test_the_oldest_job_goes_first_after_that_time() -> None:
    engine = Engine(model="u2net")
    jobs = JobQueue(engine)
    jobs.submit("a", model="lite")
    jobs.submit("b", model="u2net")
    assert jobs.order(engine) == ["a", "b"]


def test_a_job_is_left_to_an_idle_engine_with_its_model() -> None:
    first, second = Engine(model="lite"), Engine(model="u2net")
    jobs = JobQueue(first, second)
    jobs.submit("a", model="u2net")
    assert jobs.take(first) is None
    assert jobs.take(second) is not None


@pytest.mark.parametrize(
    ("state", "ready", "alive"), [("busy", True, True), ("idle", False, True), ("idle", True, False)]
)
def test_of_idle_engines_with_the_same_model_the_first_takes_a_job(state: str, ready: bool, alive: bool) -> None:
    first, second = Engine(), Engine()
    jobs = JobQueue(first, second)
    jobs.submit("a")
    assert jobs.take(second) is None
    first.state, first.ready, first.alive = EngineState(state), ready, alive
    assert jobs.take(second) is not None


def test_an_engine_works_alone_while_no_other_is_busy_and_no_job_is_queued() -> None:
    first, second = Engine(), Engine()
    jobs = JobQueue(first, second)
    jobs.submit("a")
    job = jobs.take(first)
    assert job is not None and jobs.queue.is_alone(first)
    jobs.submit("b")
    assert not jobs.queue.is_alone(first)
    assert jobs.take(second) is not None
    assert not jobs.queue.is_alone(first)


# End of a wait


def test_a_job_whose_deadline_passes_in_the_queue_never_reaches_an_engine() -> None:
    engine = Engine(state=EngineState.BUSY)
    jobs = JobQueue(engine)
    with pytest.raises(DeadlineExceeded):
        jobs.submit("late", seconds=0.1).result(120)
    assert jobs.take(engine) is None


def test_a_batch_waits_for_an_engine_as_long_as_interactive_requests_come_and_then_has_its_time() -> None:
    engine = Engine()
    jobs = JobQueue(engine)
    allowed = 0.05
    batch = in_thread(jobs.process, request_of("batch"), Deadline.from_start(allowed), BATCH)
    wait_until(lambda: jobs.queue.depth == 0 and len(jobs.queue._jobs) == 1)
    waited = time.monotonic()
    for number in range(20):
        jobs.submit(str(number))
        job = jobs.take(engine)
        assert job is not None and job.request.request_id == str(number)
        time.sleep(allowed / 4)
        job.answer(RESULT)
    assert time.monotonic() - waited > allowed and not batch.done()
    job = jobs.take(engine, timeout=5)
    assert job is not None and job.request.request_id == "batch"
    assert job.deadline.in_engine() < time.monotonic() + 5
    job.answer(RESULT)
    assert batch.result(120).model == "lite"


def test_a_batch_ends_its_wait_when_it_is_stopped() -> None:
    stopped = threading.Event()
    jobs = JobQueue(Engine(state=EngineState.BUSY))
    batch = in_thread(jobs.process, request_of("batch"), Deadline.from_start(300, stopped.is_set), BATCH)
    wait_until(lambda: jobs.queue.depth == 1)
    stopped.set()
    assert isinstance(batch.exception(120), ClientGone) and jobs.queue.depth == 0


def test_a_queued_job_whose_client_is_gone_is_withdrawn() -> None:
    engine = Engine(state=EngineState.BUSY)
    jobs = JobQueue(engine)
    with pytest.raises(ClientGone):
        jobs.submit("gone", client_gone=True).result(120)
    assert jobs.take(engine) is None


@pytest.mark.parametrize("late", [True, False], ids=["late", "client gone"])
def test_the_wait_for_a_job_in_an_engine_continues(late: bool) -> None:
    engine = Engine()
    jobs = JobQueue(engine)
    taken, checks = threading.Event(), list[bool]()

    class EndOnceTaken(Deadline):
        @property
        def seconds_left(self) -> float:
            checks.append(taken.is_set())
            return -1.0 if late and taken.is_set() else 300.0

    result = in_thread(jobs.process, request_of("a"), EndOnceTaken(0.0, taken.is_set))
    wait_until(lambda: jobs.queue._jobs)
    job = jobs.take(engine)
    assert job is not None
    taken.set()
    wait_until(lambda: checks.count(True) >= 2)  # the wait has gone on after the first
    assert not result.done()
    job.answer(RESULT)
    assert result.result(120).model == "lite"


def test_a_job_that_was_put_back_goes_first_and_fails_after_the_maximum() -> None:
    engine = Engine()
    jobs = JobQueue(engine)
    first = jobs.submit("a")
    jobs.submit("b")
    for _ in range(MAX_HANDOVERS):
        job = jobs.take(engine)
        assert job is not None and job.request.request_id == "a"
        jobs.queue.put_back(job)
    assert isinstance(first.exception(120), EngineCrashed)
    assert jobs.order(engine) == ["b"]


def test_jobs_fail_only_while_no_engine_can_be_started() -> None:
    engines = Engine(state=EngineState.BUSY), Engine(state=EngineState.BUSY)
    jobs = JobQueue(*engines)
    engines[0].start_problem = ModelUnavailable()
    jobs.queue.fail_unless_startable()
    queued = jobs.submit("a")
    wait_until(lambda: jobs.queue.depth == 1)
    engines[1].start_problem = ModelUnavailable()
    jobs.queue.fail_unless_startable()
    assert isinstance(queued.exception(120), ModelUnavailable) and jobs.queue.depth == 0


def test_close_fails_queued_jobs_and_refuses_new_ones() -> None:
    jobs = JobQueue(Engine(state=EngineState.BUSY))
    queued = jobs.submit("a")
    jobs.queue.close()
    assert isinstance(queued.exception(120), ShuttingDown)
    with pytest.raises(ShuttingDown):
        jobs.submit("b").result(120)


def test_close_waits_for_busy_engines() -> None:
    engine = Engine()
    jobs = JobQueue(engine)
    result = jobs.submit("a")
    job = jobs.take(engine)
    assert job is not None
    closing = in_thread(jobs.queue.close, 300)
    wait_until(lambda: jobs.queue.closed)
    assert not closing.done()
    job.answer(RESULT)
    jobs.queue.set_state(engine, EngineState.IDLE)
    closing.result(120)
    assert result.result(120)


def test_the_queue_is_under_load_while_more_than_half_of_its_places_are_taken() -> None:
    queue = RemovalQueue(capacity=5, body_slots=5)
    engine = Engine()
    queue.attach(engine)
    queue.set_state(engine, EngineState.BUSY)
    loads = []
    with ExitStack() as admitted:
        for caller in range(5):
            admitted.enter_context(queue.admit(caller, Deadline.after(300)))
            loads.append(queue.under_load)
    assert loads == [False, False, False, True, True]  # the first is in the engine
    assert not queue.under_load


def test_a_batch_does_not_put_the_queue_under_load() -> None:
    jobs = JobQueue(Engine(state=EngineState.BUSY))
    for number in range(15):
        jobs.submit(str(number), priority=BATCH)
    assert jobs.queue.depth == 15 and not jobs.queue.under_load
    for number in range(10):
        jobs.submit(str(number))
    assert jobs.queue.under_load
    jobs.queue.close()
