"""Simulation of many machines: known results of queueing, and limits."""

from __future__ import annotations

import pytest

from benchmarks.scale_model import Cluster, Costs, Day, percentile, simulate, simulate_backlog

FIXED = Costs(engine=0.1, engine_spread=0.0, thread=0.01, redis=0.0)


@pytest.mark.parametrize(("machines", "engines"), [(1, 1), (1, 4), (4, 1), (2, 2)])
def test_a_backlog_takes_the_time_of_its_engines(machines: int, engines: int) -> None:
    outcome = simulate_backlog(400, Cluster(machines, engines), FIXED)
    assert outcome.seconds == pytest.approx(400 * 0.1 / (machines * engines), rel=0.02)
    assert outcome.busy == pytest.approx(1, rel=0.02)
    assert len(outcome.batch) == outcome.longest_queue == 400


def test_threads_that_are_slower_than_their_engine_are_the_limit() -> None:
    outcome = simulate_backlog(300, Cluster(1, 1), Costs(engine=0.1, engine_spread=0.0, thread=0.5, redis=0.0))
    assert outcome.seconds == pytest.approx(300 * (0.5 + 0.1) / 2, rel=0.02)  # one engine, two threads


def test_redis_is_the_limit_where_it_is_slower_than_all_engines() -> None:
    outcome = simulate_backlog(300, Cluster(10, 10), Costs(engine=0.1, engine_spread=0.0, thread=0.0, redis=0.05))
    assert outcome.seconds == pytest.approx(300 * 0.05, rel=0.05)
    assert outcome.redis_busy == pytest.approx(1, rel=0.05)


def test_random_arrivals_wait_as_in_the_formula_of_pollaczek_and_khinchine() -> None:
    day = Day(photos=0.7 / 0.1 * 86_400, interactive_share=1, photos_per_job=1, peak=1)
    outcome = simulate(day, Cluster(1, 1), FIXED, hours=6)
    assert outcome.busy == pytest.approx(0.7, rel=0.03)
    mean = sum(outcome.interactive) / len(outcome.interactive)
    assert mean == pytest.approx(0.7 * 0.1 / (2 * (1 - 0.7)), rel=0.1)


def test_interactive_photos_wait_for_at_most_the_photo_in_the_engine() -> None:
    day = Day(photos=86_400, interactive_share=0.01, photos_per_job=1000, peak=1)
    outcome = simulate(day, Cluster(1, 1), FIXED, hours=6)
    assert percentile(outcome.batch, 0.95) > 60
    assert 0 < percentile(outcome.interactive, 0.95) <= 0.1


def test_the_peak_has_its_rate_and_the_mean_that_of_the_day() -> None:
    day = Day(photos=86_400, interactive_share=0, photos_per_job=1, peak=1.5)
    assert day.rate(14 * 3600) == pytest.approx(1.5)
    assert day.rate(2 * 3600) == pytest.approx(0.5)
    assert sum(day.rate(hour * 3600) for hour in range(24)) / 24 == pytest.approx(1)


def test_the_same_day_gives_the_same_outcome() -> None:
    day = Day(photos=86_400, interactive_share=0.2, photos_per_job=10, peak=2)
    costs = Costs(engine=0.5, engine_spread=0.5, thread=0.01, redis=0.001)
    assert simulate(day, Cluster(1, 2), costs, hours=0.2) == simulate(day, Cluster(1, 2), costs, hours=0.2)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.95, 4), (0.25, 1)])
def test_percentiles_are_values_of_the_list(share: float, expected: int) -> None:
    assert percentile([4, 1, 3, 2], share) == expected
    assert percentile([], share) == 0
