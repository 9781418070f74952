"""The fuzz target of bodies: its seeds and some damaged inputs are no findings."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.bodies import damaged, seeds
from tests.fuzz.fuzz_bodies import TARGET

SEEDS = seeds()


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_is_not_a_finding(name: str) -> None:
    outcome = TARGET.attempt(SEEDS[name])
    assert not outcome.is_finding, outcome.trace


@pytest.mark.parametrize("number", range(50))
def test_a_damaged_body_is_not_a_finding(number: int) -> None:
    name, data = damaged(Random(number), SEEDS)
    outcome = TARGET.attempt(data)
    assert not outcome.is_finding, (name, outcome.trace)
