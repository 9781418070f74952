"""Admission to the queue: places, reservations with Retry-After, and memory for bodies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import pytest

from app.engine.queue import RemovalQueue
from app.engine.reservations import GRACE_SECONDS, MAX_ALIKE
from app.engine.submission import ClientGone, Deadline
from app.errors import DeadlineExceeded, QueueFull, ShuttingDown
from tests.support.consumers import Engine
from tests.support.waiting import wait_until


class Admission:
    """A queue with a manual clock, and its admitted requests."""

    def __init__(self, capacity: int = 2, engines: int = 1, service_seconds: float = 0.2) -> None:
        self.now = 1000.0
        self.queue = RemovalQueue(capacity, body_slots=capacity, clock=lambda: self.now)
        for _ in range(engines):
            self.queue.attach(Engine())
        self.queue._service_seconds = service_seconds
        self.admitted: dict[int, ExitStack] = {}

    def enter(self, number: int) -> None:
        stack = ExitStack()
        stack.enter_context(self.queue.admit(number, Deadline.after(300)))
        self.admitted[number] = stack

    def leave(self, number: int) -> None:
        self.admitted.pop(number).close()

    def refused(self, number: int) -> int:
        with pytest.raises(QueueFull) as caught:
            self.enter(number)
        assert caught.value.retry_after is not None
        return caught.value.retry_after


@pytest.fixture
def admission() -> Iterator[Admission]:
    admission = Admission()
    yield admission
    for number in list(admission.admitted):
        admission.leave(number)


# Places


def test_the_number_of_places_is_the_capacity(admission: Admission) -> None:
    admission.enter(1)
    admission.enter(2)
    assert admission.refused(3) >= 1
    assert admission.queue.depth == 2


def test_a_place_is_free_again_after_use(admission: Admission) -> None:
    for number in range(5):
        admission.enter(number)
        admission.leave(number)
    assert admission.queue.depth == 0


def test_an_error_frees_the_place(admission: Admission) -> None:
    for _ in range(5):
        with pytest.raises(ValueError), admission.queue.admit(1, Deadline.after(1)):
            raise ValueError
    assert admission.queue.depth == 0


def test_a_draining_queue_refuses_new_requests(admission: Admission) -> None:
    admission.queue.drain()
    with pytest.raises(ShuttingDown):
        admission.enter(1)


# Reservations


def test_a_caller_that_retries_in_time_gets_the_reserved_place(admission: Admission) -> None:
    admission.enter(1)
    admission.enter(2)
    seconds = admission.refused(3)
    admission.now += seconds
    admission.leave(1)
    admission.refused(1)  # the caller that has just left retries at once
    admission.enter(3)
    assert set(admission.admitted) == {2, 3}


def test_an_unused_reservation_expires(admission: Admission) -> None:
    admission.enter(1)
    admission.enter(2)
    admission.now += admission.refused(3) + GRACE_SECONDS + 0.1
    admission.leave(1)
    admission.enter(4)


def test_reservations_do_not_count_while_an_engine_is_idle(admission: Admission) -> None:
    admission.enter(1)
    admission.enter(2)
    admission.refused(3)
    admission.leave(1)
    admission.leave(2)
    admission.enter(4)


def test_early_retries_add_no_reservations_beyond_the_limit(admission: Admission) -> None:
    admission.enter(1)
    admission.enter(2)
    first = admission.refused(3)
    for _ in range(200):
        admission.now += 0.001
        assert admission.refused(3) <= first + MAX_ALIKE
    assert len(admission.queue._reservations) == MAX_ALIKE


@pytest.mark.parametrize(("engines", "expected"), [(1, [10, 20, 30]), (2, [5, 10, 15])])
def test_retry_after_grows_with_reservations_and_service_time(engines: int, expected: list[int]) -> None:
    admission = Admission(engines=engines, service_seconds=2.0)
    admission.enter(1)
    admission.enter(2)
    assert [admission.refused(number) for number in range(3, 6)] == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kinds", [16, 4], ids=["different photos", "alike photos"])
def test_every_client_of_a_full_service_is_served(kinds: int, seed: int) -> None:
    """Simulate 16 clients that continue at once after success and respect Retry-After, 9 places, and varying times."""
    random = Random(seed)
    admission = Admission(capacity=9, service_seconds=0.28)
    tries, due = dict.fromkeys(range(16), 0), dict.fromkeys(range(16), 0.0)
    served, failed, done_at = 0, 0, 0.0
    admitted: dict[int, ExitStack] = {}
    while served < 3000:
        admission.now += 0.01
        if admitted and admission.now >= done_at:
            first = next(iter(admitted))
            admitted.pop(first).close()
            due[first], tries[first], served = admission.now + 0.02, 0, served + 1
            done_at = admission.now + random.choice([0.05, 0.1, 0.15, 0.2, 0.9])
        for number in tries:
            if number in admitted or due[number] > admission.now:
                continue
            tries[number] += 1
            try:
                admission.enter(number % kinds)
                admitted[number] = admission.admitted.pop(number % kinds)
            except QueueFull as refusal:
                due[number] = admission.now + (refusal.retry_after or 1)
                if tries[number] == 3:
                    failed, tries[number] = failed + 1, 0
    for stack in admitted.values():
        stack.close()
    assert failed <= served // 500


def test_reservations_never_take_the_whole_capacity() -> None:
    admission = Admission(capacity=4)
    for number in range(4):
        admission.enter(number)
    for number in range(10, 40):
        admission.refused(number)
    for number in range(3):
        admission.leave(number)
    admission.enter(99)
    for number in list(admission.admitted):
        admission.leave(number)


# Memory for bodies


def test_a_request_waits_for_a_body_slot() -> None:
    queue = RemovalQueue(capacity=3, body_slots=1)
    entered = []

    def second() -> None:
        with queue.admit(2, Deadline.after(300)):
            entered.append(2)

    with queue.admit(1, Deadline.after(300)):
        thread = threading.Thread(target=second)
        thread.start()
        wait_until(lambda: queue.depth == 2)
        assert entered == []
    thread.join(120)
    assert entered == [2] and queue.depth == 0


def test_body_slots_are_assigned_in_order_of_arrival() -> None:
    queue = RemovalQueue(capacity=5, body_slots=1)
    entered: list[int] = []

    def enter(number: int) -> None:
        with queue.admit(number, Deadline.after(300)):
            entered.append(number)

    with ThreadPoolExecutor(4) as threads, queue.admit(0, Deadline.after(300)):
        for number in range(1, 5):
            threads.submit(enter, number)
            wait_until(lambda: len(queue._body_tickets) == number)  # noqa: B023  # called before the next round
    assert entered == [1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "gone", "error"), [(0.1, False, DeadlineExceeded), (300, True, ClientGone)])
def test_the_wait_for_a_slot_ends_at_the_deadline_or_when_the_client_is_gone(
    seconds: float, gone: bool, error: type[Exception]
) -> None:
    queue = RemovalQueue(capacity=3, body_slots=1)
    with queue.admit(1, Deadline.after(300)):
        late = Deadline(Deadline.after(seconds).at, lambda: gone)
        with pytest.raises(error), queue.admit(2, late):
            pytest.fail("there is no slot")
        assert queue.depth == 1
