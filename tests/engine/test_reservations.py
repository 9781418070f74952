"""Reservations: who finds a kept place, who leaves it to others, and when a refused caller may retry."""

from __future__ import annotations

import pytest

from app.engine.reservations import GRACE_SECONDS, MAX_ALIKE, MAX_RESERVATIONS, Reservations

NOW = 1000.0


@pytest.fixture
def reservations() -> Reservations:
    return Reservations(capacity=8)


def refuse(reservations: Reservations, caller: str, now: float = NOW, seconds_per_place: float = 0.2) -> int:
    """Have a caller refused at a time, and return its Retry-After."""
    return reservations.reserve(caller, reservations.redeem(caller, now), now, seconds_per_place)


def test_a_reservation_is_redeemed_once_when_it_is_due(reservations: Reservations) -> None:
    due = NOW + refuse(reservations, "a")
    assert reservations.redeem("a", due - 0.5) is None
    assert reservations.redeem("b", due) is None
    redeemed = reservations.redeem("a", due)
    assert redeemed is not None and (redeemed.caller, redeemed.refusals) == ("a", 1)
    assert reservations.redeem("a", due) is None


def test_a_retry_may_come_a_moment_early(reservations: Reservations) -> None:
    due = NOW + refuse(reservations, "a")
    assert reservations.redeem("a", due - 0.2) is not None


def test_a_reservation_expires(reservations: Reservations) -> None:
    due = NOW + refuse(reservations, "a")
    assert reservations.redeem("a", due + GRACE_SECONDS + 0.1) is None
    assert len(reservations) == 0


def test_a_new_caller_leaves_places_to_reservations_that_are_due_soon(reservations: Reservations) -> None:
    refuse(reservations, "a")
    assert reservations.kept_from(None, NOW, 0.2) == 1
    assert reservations.kept_from(None, NOW - 60, 0.2) == 0


def test_a_caller_with_a_reservation_leaves_places_to_those_refused_more_often(reservations: Reservations) -> None:
    refuse(reservations, "often")
    refuse(reservations, "often", now=NOW + 1)  # refused again when it was due
    refuse(reservations, "once", now=NOW + 1)
    once = reservations.redeem("once", NOW + 3)
    assert reservations.kept_from(once, NOW + 3, 0.2) == 1
    often = reservations.redeem("often", NOW + 3)
    assert often is not None and often.refusals == 2
    assert reservations.kept_from(often, NOW + 3, 0.2) == 0


def test_half_of_the_capacity_is_never_kept(reservations: Reservations) -> None:
    for number in range(50):
        refuse(reservations, str(number))
    assert reservations.kept_from(None, NOW + 60, 0.2) == 4


def test_retry_after_spreads_callers_over_the_seconds(reservations: Reservations) -> None:
    # Half a second per place, times the safety factor: one place every three seconds.
    assert [refuse(reservations, name, seconds_per_place=0.5) for name in "abc"] == [3, 6, 9]


def test_a_caller_that_comes_back_in_vain_retries_after_a_second(reservations: Reservations) -> None:
    due = NOW + refuse(reservations, "a")
    assert refuse(reservations, "a", now=due) == 1


def test_frequent_retries_earn_no_more_places(reservations: Reservations) -> None:
    waits = [refuse(reservations, "a") for _ in range(MAX_ALIKE + 5)]
    assert len(reservations) == MAX_ALIKE
    assert set(waits[MAX_ALIKE:]) == {waits[0]}


def test_the_number_of_reservations_is_bounded(reservations: Reservations) -> None:
    for number in range(MAX_RESERVATIONS + 50):
        assert refuse(reservations, str(number)) >= 1
    assert len(reservations) == MAX_RESERVATIONS
