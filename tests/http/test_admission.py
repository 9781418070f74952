"""Places, upload slots and the promise of a place, on a clock that is turned by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from random import Random

import pytest

from app.engine.pool import Abandoned
from app.errors import DeadlineExceeded, QueueFull, ShuttingDown
from app.http.admission import GRACE, MOST_ALIKE, Admission, Caller
from tests.conftest import wait_until
from tests.doubles import STATUS, FakePool


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(number: int) -> Caller:
    return Caller("10.0.0.1", "/remove-background", number)


def never() -> bool:
    return False


class Door:
    """An admission of two places and one upload slot, and the requests inside."""

    def __init__(self, pool: FakePool, places: int = 2, uploads: int = 2) -> None:
        self.clock = Clock()
        self.admission = Admission(pool, places, uploads, self.clock)
        self.inside: dict[int, ExitStack] = {}

    def come(self, number: int) -> None:
        stack = ExitStack()
        stack.enter_context(self.admission.place(caller(number), self.clock.now + 60, never))
        self.inside[number] = stack

    def go(self, number: int) -> None:
        self.inside.pop(number).close()

    def refused(self, number: int) -> int:
        with pytest.raises(QueueFull) as caught:
            self.come(number)
        assert caught.value.retry_after is not None
        return caught.value.retry_after


@pytest.fixture
def door(fake_pool: FakePool) -> Iterator[Door]:
    door = Door(fake_pool)
    yield door
    for number in list(door.inside):
        door.go(number)


def test_there_are_as_many_places_as_said(door: Door) -> None:
    door.come(1)
    door.come(2)
    assert door.refused(3) >= 1
    assert door.admission.taken == 2


def test_a_place_is_free_again_after_use(door: Door) -> None:
    for number in range(5):
        door.come(number)
        door.go(number)
    assert door.admission.taken == 0


def test_a_failure_inside_frees_the_place(door: Door) -> None:
    for _ in range(5):
        with pytest.raises(ValueError), door.admission.place(caller(1), door.clock.now + 1, never):
            raise ValueError
    assert door.admission.taken == 0


def test_who_comes_back_in_time_finds_a_place_that_others_do_not(door: Door) -> None:
    door.come(1)
    door.come(2)
    seconds = door.refused(3)
    door.clock.now += seconds
    door.go(1)
    door.refused(1)  # the one that has just left asks again without a pause
    door.come(3)
    assert set(door.inside) == {2, 3}


def test_a_promise_that_nobody_calls_on_is_forgotten(door: Door) -> None:
    door.come(1)
    door.come(2)
    door.clock.now += door.refused(3) + GRACE + 0.1
    door.go(1)
    door.come(4)


def test_an_idle_engine_refuses_nobody_for_the_sake_of_a_promise(door: Door) -> None:
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
        door.clock.now += 0.001
        assert door.refused(3) <= first + MOST_ALIKE
    assert len(door.admission._promises) == MOST_ALIKE


def test_retry_after_grows_with_those_before_and_the_time_a_photo_takes(door: Door, fake_pool: FakePool) -> None:
    fake_pool.answer = replace(STATUS, service_seconds=2.0)
    door.come(1)
    door.come(2)
    assert [door.refused(number) for number in range(3, 6)] == [10, 20, 30]


def test_more_engines_mean_shorter_waits(door: Door, fake_pool: FakePool) -> None:
    fake_pool.answer = replace(STATUS, service_seconds=2.0, ready=2)
    door.come(1)
    door.come(2)
    assert [door.refused(number) for number in range(3, 6)] == [5, 10, 15]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kinds", [16, 4], ids=["different photos", "alike photos"])
def test_every_client_of_a_full_service_gets_its_turn(kinds: int, seed: int, fake_pool: FakePool) -> None:
    """Sixteen clients, nine places, uneven photos; who is done asks again at once, who is refused when it was told."""
    random = Random(seed)
    fake_pool.answer = replace(STATUS, service_seconds=0.28)
    door = Door(fake_pool, places=9, uploads=9)
    tries, due = dict.fromkeys(range(16), 0), dict.fromkeys(range(16), 0.0)
    served, failed, done_at = 0, 0, 0.0
    inside: dict[int, ExitStack] = {}
    while served < 3000:
        door.clock.now += 0.01
        if inside and door.clock.now >= done_at:
            first = next(iter(inside))
            inside.pop(first).close()
            due[first], tries[first], served = door.clock.now + 0.02, 0, served + 1
            done_at = door.clock.now + random.choice([0.05, 0.1, 0.15, 0.2, 0.9])
        for number in tries:
            if number in inside or due[number] > door.clock.now:
                continue
            tries[number] += 1
            try:
                door.come(number % kinds)
                inside[number] = door.inside.pop(number % kinds)
            except QueueFull as refusal:
                due[number] = door.clock.now + (refusal.retry_after or 1)
                if tries[number] == 3:
                    failed, tries[number] = failed + 1, 0
    for stack in inside.values():
        stack.close()
    assert failed <= served // 500


def test_promises_alone_never_shut_the_door(fake_pool: FakePool) -> None:
    door = Door(fake_pool, places=4, uploads=4)
    for number in range(4):
        door.come(number)
    for number in range(10, 40):
        door.refused(number)
    for number in range(3):
        door.go(number)
    door.come(99)
    for number in list(door.inside):
        door.go(number)


def test_closing_refuses_everybody(door: Door, fake_pool: FakePool) -> None:
    fake_pool.draining = True
    with pytest.raises(ShuttingDown):
        door.come(1)


def test_a_body_is_read_only_with_a_slot(fake_pool: FakePool) -> None:
    admission = Admission(fake_pool, places=3, uploads=1)
    entered = []

    def second() -> None:
        with admission.place(caller(2), time.monotonic() + 30, never):
            entered.append(2)

    with admission.place(caller(1), time.monotonic() + 30, never):
        thread = threading.Thread(target=second)
        thread.start()
        wait_until(lambda: admission.taken == 2)
        assert entered == []
    thread.join(10)
    assert entered == [2] and admission.taken == 0


@pytest.mark.parametrize(("seconds", "gone", "error"), [(0.1, False, DeadlineExceeded), (30, True, Abandoned)])
def test_waiting_for_a_slot_ends(seconds: float, gone: bool, error: type[Exception], fake_pool: FakePool) -> None:
    admission = Admission(fake_pool, places=3, uploads=1)
    with admission.place(caller(1), time.monotonic() + 30, never):
        with pytest.raises(error), admission.place(caller(2), time.monotonic() + seconds, lambda: gone):
            pytest.fail("there is no slot")
        assert admission.taken == 1
