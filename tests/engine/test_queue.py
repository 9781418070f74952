"""Queue: places, body slots, Retry-After and order, on a clock that is set by hand and engines that are only data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import pytest

from app.engine import queue as queue_module
from app.engine.job import Job
from app.engine.queue import MAX_HANDOVERS, EngineState, RemovalQueue
from app.engine.reservations import GRACE_SECONDS, MAX_ALIKE
from app.engine.submission import ClientGone, Deadline, Priority
from app.errors import DeadlineExceeded, EngineCrashed, QueueFull, ShuttingDown
from app.removal import Box, RemovalOptions, RemovalRequest, RemovalResult
from tests.support.waiting import wait_until

BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


@dataclass(eq=False)
class Engine:
    """An engine as the queue sees it."""

    model: str = "lite"
    state: EngineState = EngineState.IDLE
    ready: bool = True
    alive: bool = True


class Door:
    """A queue with a clock of its own, and the requests inside."""

    def __init__(self, capacity: int = 2, engines: int = 1, service_seconds: float = 0.2) -> None:
        self.now = 1000.0
        self.queue = RemovalQueue(capacity, body_slots=capacity, clock=lambda: self.now)
        for _ in range(engines):
            self.queue.attach(Engine())
        self.queue._service_seconds = service_seconds
        self.inside: dict[int, ExitStack] = {}

    def come(self, number: int) -> None:
        stack = ExitStack()
        stack.enter_context(self.queue.admit(number, Deadline.after(60)))
        self.inside[number] = stack

    def go(self, number: int) -> None:
        self.inside.pop(number).close()

    def refused(self, number: int) -> int:
        with pytest.raises(QueueFull) as caught:
            self.come(number)
        assert caught.value.retry_after is not None
        return caught.value.retry_after


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    for number in list(door.inside):
        door.go(number)


# Places


def test_there_are_as_many_places_as_said(door: Door) -> None:
    door.come(1)
    door.come(2)
    assert door.refused(3) >= 1
    assert (door.queue.places_taken, door.queue.depth) == (2, 2)


def test_a_place_is_free_again_after_use(door: Door) -> None:
    for number in range(5):
        door.come(number)
        door.go(number)
    assert door.queue.places_taken == 0


def test_a_failure_inside_frees_the_place(door: Door) -> None:
    for _ in range(5):
        with pytest.raises(ValueError), door.queue.admit(1, Deadline.after(1)):
            raise ValueError
    assert door.queue.places_taken == 0


def test_draining_refuses_everybody(door: Door) -> None:
    door.queue.drain()
    with pytest.raises(ShuttingDown):
        door.come(1)


# Reservations


def test_a_caller_that_retries_in_time_finds_a_place_that_others_do_not(door: Door) -> None:
    door.come(1)
    door.come(2)
    seconds = door.refused(3)
    door.now += seconds
    door.go(1)
    door.refused(1)  # the one that has just left asks again without a pause
    door.come(3)
    assert set(door.inside) == {2, 3}


def test_a_reservation_that_is_not_used_expires(door: Door) -> None:
    door.come(1)
    door.come(2)
    door.now += door.refused(3) + GRACE_SECONDS + 0.1
    door.go(1)
    door.come(4)


def test_an_idle_engine_refuses_nobody_for_the_sake_of_a_reservation(door: Door) -> None:
    door.come(1)
    door.come(2)
    door.refused(3)
    door.go(1)
    door.go(2)
    door.come(4)


def test_asking_too_early_and_often_earns_no_second_place(door: Door) -> None:
    door.come(1)
    door.come(2)
    first = door.refused(3)
    for _ in range(200):
        door.now += 0.001
        assert door.refused(3) <= first + MAX_ALIKE
    assert len(door.queue._reservations) == MAX_ALIKE


@pytest.mark.parametrize(("engines", "expected"), [(1, [10, 20, 30]), (2, [5, 10, 15])])
def test_retry_after_grows_with_the_reservations_and_the_time_of_a_photo(engines: int, expected: list[int]) -> None:
    door = Door(engines=engines, service_seconds=2.0)
    door.come(1)
    door.come(2)
    assert [door.refused(number) for number in range(3, 6)] == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kinds", [16, 4], ids=["different photos", "alike photos"])
def test_every_client_of_a_full_service_gets_its_turn(kinds: int, seed: int) -> None:
    """Sixteen clients, nine places, uneven photos; each retries at once after success, and as told after a refusal."""
    random = Random(seed)
    door = Door(capacity=9, service_seconds=0.28)
    tries, due = dict.fromkeys(range(16), 0), dict.fromkeys(range(16), 0.0)
    served, failed, done_at = 0, 0, 0.0
    inside: dict[int, ExitStack] = {}
    while served < 3000:
        door.now += 0.01
        if inside and door.now >= done_at:
            first = next(iter(inside))
            inside.pop(first).close()
            due[first], tries[first], served = door.now + 0.02, 0, served + 1
            done_at = door.now + random.choice([0.05, 0.1, 0.15, 0.2, 0.9])
        for number in tries:
            if number in inside or due[number] > door.now:
                continue
            tries[number] += 1
            try:
                door.come(number % kinds)
                inside[number] = door.inside.pop(number % kinds)
            except QueueFull as refusal:
                due[number] = door.now + (refusal.retry_after or 1)
                if tries[number] == 3:
                    failed, tries[number] = failed + 1, 0
    for stack in inside.values():
        stack.close()
    assert failed <= served // 500


def test_reservations_alone_never_close_the_queue() -> None:
    door = Door(capacity=4)
    for number in range(4):
        door.come(number)
    for number in range(10, 40):
        door.refused(number)
    for number in range(3):
        door.go(number)
    door.come(99)
    for number in list(door.inside):
        door.go(number)


# Memory for bodies


def test_a_body_is_read_only_with_a_slot() -> None:
    queue = RemovalQueue(capacity=3, body_slots=1)
    entered = []

    def second() -> None:
        with queue.admit(2, Deadline.after(30)):
            entered.append(2)

    with queue.admit(1, Deadline.after(30)):
        thread = threading.Thread(target=second)
        thread.start()
        wait_until(lambda: queue.places_taken == 2)
        assert entered == []
    thread.join(10)
    assert entered == [2] and queue.places_taken == 0


def test_body_slots_are_handed_out_in_the_order_of_arrival() -> None:
    queue = RemovalQueue(capacity=5, body_slots=1)
    entered: list[int] = []

    def come(number: int) -> None:
        with queue.admit(number, Deadline.after(30)):
            entered.append(number)

    with ThreadPoolExecutor(4) as threads, queue.admit(0, Deadline.after(30)):
        for number in range(1, 5):
            threads.submit(come, number)
            wait_until(lambda: len(queue._body_line) == number)  # noqa: B023  # called before the next round
    assert entered == [1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "gone", "error"), [(0.1, False, DeadlineExceeded), (30, True, ClientGone)])
def test_waiting_for_a_slot_ends(seconds: float, gone: bool, error: type[Exception]) -> None:
    queue = RemovalQueue(capacity=3, body_slots=1)
    with queue.admit(1, Deadline.after(30)):
        late = Deadline(Deadline.after(seconds).at, lambda: gone)
        with pytest.raises(error), queue.admit(2, late):
            pytest.fail("there is no slot")
        assert queue.places_taken == 1


# Order of jobs


class Line:
    """Jobs submitted by threads of their own, in a known order."""

    def __init__(self, *engines: Engine) -> None:
        self.queue = RemovalQueue(capacity=20, body_slots=20)
        self.threads = ThreadPoolExecutor(20)
        for engine in engines:
            self.queue.attach(engine)

    def submit(
        self,
        name: str,
        *,
        model: str = "lite",
        priority: Priority = INTERACTIVE,
        seconds: float = 30,
        client_gone: bool = False,
    ) -> Future[RemovalResult]:
        waiting = len(self.queue._jobs)
        request = RemovalRequest(b"", RemovalOptions(model, 100), request_id=name)
        deadline = Deadline(Deadline.after(seconds).at, lambda: client_gone)
        future = self.threads.submit(self.queue.process, request, deadline, priority)
        wait_until(lambda: len(self.queue._jobs) > waiting or future.done())
        return future

    def take(self, engine: Engine, timeout: float = 0.01) -> Job | None:
        """Return what the engine, idle again, gets."""
        self.queue.set_state(engine, EngineState.IDLE)
        return self.queue.take(engine, timeout)

    def order(self, engine: Engine) -> list[str]:
        """Have one engine work on everything and return the names in that order."""
        names = []
        while (job := self.take(engine)) is not None:
            names.append(job.request.request_id)
            engine.model = job.model
            job.succeed(RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, job.model, {}))
        return names


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded model is preferred however long the others have waited."""
    monkeypatch.setattr(queue_module, "AFFINITY_SECONDS", 60.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest job always goes first."""
    monkeypatch.setattr(queue_module, "AFFINITY_SECONDS", 0.0)


def test_jobs_are_taken_in_the_order_of_arrival() -> None:
    engine = Engine()
    line = Line(engine)
    results = [line.submit(name) for name in "abc"]
    assert line.order(engine) == ["a", "b", "c"]
    assert [result.result(10).model for result in results] == ["lite"] * 3


def test_interactive_requests_always_go_before_a_batch() -> None:
    engine = Engine()
    line = Line(engine)
    for name in ("batch 1", "batch 2"):
        line.submit(name, priority=BATCH)
    for name in ("a", "b"):
        line.submit(name)
    assert line.order(engine) == ["a", "b", "batch 1", "batch 2"]


@pytest.mark.usefixtures("patient")
def test_a_batch_for_the_loaded_model_does_not_overtake_an_interactive_request() -> None:
    engine = Engine(model="u2netp")
    line = Line(engine)
    line.submit("batch", model="u2netp", priority=BATCH)
    line.submit("interactive", model="lite")
    assert line.order(engine) == ["interactive", "batch"]


def test_batches_need_no_place() -> None:
    line = Line(Engine())
    for number in range(19):
        line.submit(str(number), priority=BATCH)
    assert line.queue.places_taken == 0
    line.queue.close()


@pytest.mark.usefixtures("patient")
def test_the_loaded_model_is_preferred_for_a_moment() -> None:
    engine = Engine(model="u2netp")
    line = Line(engine)
    for name, model in (("a", "lite"), ("b", "u2netp"), ("c", "lite")):
        line.submit(name, model=model)
    assert line.order(engine) == ["b", "a", "c"]


@pytest.mark.usefixtures("impatient")
def test_after_that_moment_the_oldest_goes_first() -> None:
    engine = Engine(model="u2netp")
    line = Line(engine)
    line.submit("a", model="lite")
    line.submit("b", model="u2netp")
    assert line.order(engine) == ["a", "b"]


def test_a_job_is_left_to_an_idle_engine_that_has_its_model() -> None:
    first, second = Engine(model="lite"), Engine(model="u2netp")
    line = Line(first, second)
    line.submit("a", model="u2netp")
    assert line.take(first) is None
    assert line.take(second) is not None


@pytest.mark.parametrize(
    ("state", "ready", "alive"), [("busy", True, True), ("idle", False, True), ("idle", True, False)]
)
def test_of_idle_engines_with_the_same_model_the_first_takes_a_job(state: str, ready: bool, alive: bool) -> None:
    first, second = Engine(), Engine()
    line = Line(first, second)
    line.submit("a")
    assert line.take(second) is None
    first.state, first.ready, first.alive = EngineState(state), ready, alive
    assert line.take(second) is not None


def test_an_engine_works_alone_while_no_other_is_busy_and_nothing_waits() -> None:
    first, second = Engine(), Engine()
    line = Line(first, second)
    line.submit("a")
    job = line.take(first)
    assert job is not None and line.queue.is_alone(first)
    line.submit("b")
    assert not line.queue.is_alone(first)
    assert line.take(second) is not None
    assert not line.queue.is_alone(first)


# The end of a wait


def test_a_job_that_is_late_in_the_queue_never_reaches_an_engine() -> None:
    engine = Engine(state=EngineState.BUSY)
    line = Line(engine)
    with pytest.raises(DeadlineExceeded):
        line.submit("late", seconds=0.1).result(10)
    assert line.take(engine) is None


def test_a_queued_job_whose_client_is_gone_is_withdrawn() -> None:
    engine = Engine(state=EngineState.BUSY)
    line = Line(engine)
    with pytest.raises(ClientGone):
        line.submit("gone", client_gone=True).result(10)
    assert line.take(engine) is None


def test_a_job_in_an_engine_is_waited_for() -> None:
    engine = Engine()
    line = Line(engine)
    result = line.submit("a", client_gone=True, seconds=0.3)
    job = line.take(engine, timeout=5)
    assert job is not None
    threading.Event().wait(0.6)
    assert not result.done()
    job.succeed(RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, "lite", {}))
    assert result.result(10).model == "lite"


def test_a_job_that_was_put_back_is_the_first_again_and_fails_in_the_end() -> None:
    engine = Engine()
    line = Line(engine)
    first = line.submit("a")
    line.submit("b")
    for _ in range(MAX_HANDOVERS):
        job = line.take(engine)
        assert job is not None and job.request.request_id == "a"
        line.queue.put_back(job)
    assert isinstance(first.exception(10), EngineCrashed)
    assert line.order(engine) == ["b"]


def test_closing_fails_what_is_queued_and_refuses_the_rest() -> None:
    line = Line(Engine(state=EngineState.BUSY))
    queued = line.submit("a")
    line.queue.close()
    assert isinstance(queued.exception(10), ShuttingDown)
    with pytest.raises(ShuttingDown):
        line.submit("b").result(10)


def test_closing_waits_for_engines_at_work() -> None:
    engine = Engine()
    line = Line(engine)
    result = line.submit("a")
    job = line.take(engine)
    assert job is not None
    closing = line.threads.submit(line.queue.close, 30)
    wait_until(lambda: line.queue.closed)
    assert not closing.done()
    job.succeed(RemovalResult(b"", "image/png", 1, 1, Box(), 1.0, "lite", {}))
    line.queue.set_state(engine, EngineState.IDLE)
    closing.result(10)
    assert result.result(10)
