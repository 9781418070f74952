"""Memory for bodies and answers: the slowest readers go first, nearly complete bodies pass."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from app.server import pace
from app.server.budget import MIN_FALL, Budget
from app.server.pace import MIN_RATE, Pace


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rates and stalls depend on what a test sets, not on the time that it takes."""
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: 1_000_000.0))


class Client:
    """A connection that only counts."""

    def __init__(self, budget: Budget, moved: int = 0, age: float = 1.0) -> None:
        self.budget, self.held, self.closed, self.working = budget, 0, False, False
        self.pace = Pace()
        self.pace.excuse(-age)
        self.pace.moved = moved

    def close(self) -> None:
        self.closed = True
        self.budget.release(self)


def test_an_answer_without_room_closes_the_slowest_reader() -> None:
    budget = Budget(100, 50)
    fast, slow, latest = Client(budget, moved=10_000), Client(budget), Client(budget, age=0)
    for client in (fast, slow):
        budget.charge_answer(client, 50)
    budget.charge_answer(latest, 50)
    assert [client.closed for client in (fast, slow, latest)] == [False, True, False]
    assert budget.used == 100


def test_one_answer_over_the_limit_is_sent() -> None:
    budget = Budget(100, 50)
    client = Client(budget)
    budget.charge_answer(client, 500)
    assert not client.closed


def test_a_body_waits_for_room_and_the_nearly_complete_one_passes() -> None:
    budget = Budget(150, 50)
    full, large, small = Client(budget), Client(budget), Client(budget)
    full.working = True
    budget.charge(full, 150)

    async def both() -> None:
        waiting = [asyncio.ensure_future(budget.room(large, 1_000)), asyncio.ensure_future(budget.room(small, 10))]
        await asyncio.sleep(0)
        budget.release(full, 20)
        done, _ = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert waiting[1] in done
        budget.release(full)
        await asyncio.wait_for(waiting[0], 60)

    asyncio.run(both())


def test_nobody_passes_once_the_margin_is_used_as_well() -> None:
    budget = Budget(150, 50)
    full = Client(budget)
    full.working = True
    budget.charge(full, 150)

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(budget.room(Client(budget), 1), 0.3)

    asyncio.run(wait())


def test_a_pause_of_the_server_is_not_held_against_a_client() -> None:
    client = Pace()
    client.started -= pace.GRACE_SECONDS + 5
    assert client.seconds_left < 0
    client.excuse(10)
    assert client.seconds_left > 0


def test_what_a_client_moves_extends_its_time() -> None:
    client = Pace()
    before = client.seconds_left
    client.moved += 10 * MIN_RATE
    assert client.seconds_left == before + 10


def test_freed_memory_is_given_back_once_after_large_bodies() -> None:
    budget = Budget(100 * MIN_FALL, 50)
    client = Client(budget)
    budget.charge(client, MIN_FALL)
    assert not budget.has_fallen()
    budget.release(client)
    assert [budget.has_fallen(), budget.has_fallen()] == [True, False]


def test_small_bodies_stay_in_the_heap() -> None:
    budget = Budget(100 * MIN_FALL, 50)
    client = Client(budget)
    for _ in range(10):
        budget.charge(client, MIN_FALL - 1)
        budget.release(client)
        assert not budget.has_fallen()


def test_bodies_that_stop_coming_lose_their_memory_to_a_new_one() -> None:
    budget = Budget(150, 50)
    working, stalled, sending, new = Client(budget, age=1000), Client(budget, age=30), Client(budget), Client(budget)
    working.working = True
    for client in (working, stalled, sending):
        budget.charge(client, 50)
    asyncio.run(asyncio.wait_for(budget.room(new, 1_000), 60))
    assert [client.closed for client in (working, stalled, sending, new)] == [False, True, False, False]


def test_bodies_that_keep_coming_are_never_closed_for_another_one() -> None:
    budget = Budget(150, 50)
    sending = [Client(budget) for _ in range(3)]
    for client in sending:
        budget.charge(client, 50)

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(budget.room(Client(budget), 1), 0.3)

    asyncio.run(wait())
    assert not any(client.closed for client in sending)


def test_an_answer_takes_the_memory_of_stalled_bodies_before_that_of_faster_readers() -> None:
    budget = Budget(150, 50)
    stalled, reader, latest = Client(budget, age=30), Client(budget, moved=10_000), Client(budget, age=0)
    budget.charge(stalled, 80)
    budget.charge_answer(reader, 50)
    budget.charge_answer(latest, 50)
    assert [client.closed for client in (stalled, reader, latest)] == [True, False, False]
