"""Images that have brought engines down are refused for a while."""

from __future__ import annotations

import pytest

from app.engine.quarantine import MAX_ENTRIES, SECONDS, Quarantine


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quarantine(clock: Clock) -> Quarantine:
    return Quarantine(clock)


@pytest.mark.parametrize(("strikes", "refused"), [(0, False), (1, False), (2, True), (3, True)])
def test_two_strikes_are_enough(strikes: int, refused: bool, quarantine: Quarantine) -> None:
    for _ in range(strikes):
        quarantine.strike(b"bad")
    assert quarantine.refuses(b"bad") is refused
    assert not quarantine.refuses(b"good")


def test_a_background_that_kills_does_not_taint_the_image(quarantine: Quarantine) -> None:
    for _ in range(2):
        quarantine.strike(b"image", b"evil background")
    assert quarantine.refuses(b"image", b"evil background")
    assert not quarantine.refuses(b"image", b"")


def test_it_is_forgotten_after_some_minutes(quarantine: Quarantine, clock: Clock) -> None:
    for _ in range(2):
        quarantine.strike(b"bad")
    clock.now += SECONDS + 1
    assert not quarantine.refuses(b"bad")


def test_a_first_strike_is_forgotten_too(quarantine: Quarantine, clock: Clock) -> None:
    quarantine.strike(b"bad")
    clock.now += SECONDS + 1
    quarantine.strike(b"bad")
    assert not quarantine.refuses(b"bad")


def test_it_does_not_grow_without_end(quarantine: Quarantine) -> None:
    for number in range(MAX_ENTRIES + 10):
        quarantine.strike(str(number).encode())
    assert len(quarantine._strikes) == MAX_ENTRIES
