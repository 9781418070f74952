"""Quarantine of requests that have crashed engines."""

from __future__ import annotations

from typing import Any

import pytest

from app.engine.quarantine import MAX_ENTRIES, SECONDS, Quarantine
from app.removal import RemovalOptions, RemovalRequest
from tests.support.clock import Clock


def request(image: str, background: str = "", **options: Any) -> RemovalRequest:
    return RemovalRequest(image.encode(), RemovalOptions("lite", 100, **options), background.encode())


@pytest.fixture
def quarantine(clock: Clock) -> Quarantine:
    return Quarantine(clock)


@pytest.mark.parametrize(("strikes", "refused"), [(0, False), (1, False), (2, True), (3, True)])
def test_an_image_is_refused_after_two_strikes(strikes: int, refused: bool, quarantine: Quarantine) -> None:
    for _ in range(strikes):
        quarantine.strike(request("bad"))
    assert quarantine.refuses(request("bad")) is refused
    assert not quarantine.refuses(request("good"))


def test_an_image_is_accepted_without_its_bad_background(quarantine: Quarantine) -> None:
    for _ in range(2):
        quarantine.strike(request("image", "bad background"))
    assert quarantine.refuses(request("image", "bad background"))
    assert not quarantine.refuses(request("image"))


def test_an_image_is_accepted_with_other_options(quarantine: Quarantine) -> None:
    for _ in range(2):
        quarantine.strike(request("image", refine="matting"))
    assert quarantine.refuses(request("image", refine="matting"))
    assert not quarantine.refuses(request("image"))


def test_a_refused_image_is_accepted_after_the_time_limit(quarantine: Quarantine, clock: Clock) -> None:
    for _ in range(2):
        quarantine.strike(request("bad"))
    clock.now += SECONDS + 1
    assert not quarantine.refuses(request("bad"))


def test_a_single_strike_expires(quarantine: Quarantine, clock: Clock) -> None:
    quarantine.strike(request("bad"))
    clock.now += SECONDS + 1
    quarantine.strike(request("bad"))
    assert not quarantine.refuses(request("bad"))


def test_the_number_of_entries_is_limited(quarantine: Quarantine) -> None:
    for number in range(MAX_ENTRIES + 10):
        quarantine.strike(request(str(number)))
    assert len(quarantine._strikes) == MAX_ENTRIES
