"""Deadline of a caller: the end of its wait by time, by a client that is gone, or by success."""

from __future__ import annotations

import threading
import time

import pytest

from app.engine.submission import POLL_SECONDS, ClientGone, Deadline
from app.errors import DeadlineExceeded


def never(timeout: float) -> bool:
    time.sleep(min(timeout, 0.01))
    return False


def test_a_wait_ends_when_its_condition_is_true() -> None:
    event = threading.Event()
    event.set()
    Deadline.after(60).wait(event.wait, late="too late")


def test_a_condition_that_is_true_at_the_deadline_counts() -> None:
    Deadline.after(-1).wait(lambda timeout: True, late="too late")


def test_a_wait_that_is_late_says_why() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        Deadline.after(0.05).wait(never, late="too late")
    assert caught.value.details == "too late"


def test_a_wait_ends_when_the_client_is_gone() -> None:
    answers = iter([False, False, True])
    with pytest.raises(ClientGone):
        Deadline(Deadline.after(60).at, lambda: next(answers)).wait(never, late="too late")


def test_the_client_is_checked_in_intervals() -> None:
    timeouts: list[float] = []

    def ready(timeout: float) -> bool:
        timeouts.append(timeout)
        return len(timeouts) == 3

    Deadline.after(60).wait(ready, late="too late")
    assert timeouts == [POLL_SECONDS] * 3


@pytest.mark.parametrize(("seconds", "is_late"), [(60, False), (-1, True)])
def test_seconds_left(seconds: float, is_late: bool) -> None:
    assert (Deadline.after(seconds).seconds_left < 0) is is_late


def test_a_deadline_from_the_start_does_not_limit_the_wait_for_an_engine() -> None:
    stopped = threading.Event()
    answers = iter([False] * 5 + [True])
    deadline = Deadline.from_start(0.0, stopped.is_set)
    deadline.wait(lambda timeout: next(answers), late="too late")
    stopped.set()
    with pytest.raises(ClientGone):
        deadline.wait(never, late="too late")


def test_a_deadline_from_the_start_has_its_time_for_each_result() -> None:
    deadline = Deadline.from_start(60)
    before = time.monotonic()
    in_engine = deadline.in_engine()
    assert before + 60 <= in_engine <= time.monotonic() + 60
    assert deadline.at > time.monotonic() + 10**9
    assert Deadline(100.0).in_engine() == 100.0
