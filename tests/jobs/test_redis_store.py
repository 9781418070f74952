"""State of jobs in a real Redis, beyond the contract of all stores: claims, lost workers, keys, failures."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from app.jobs.celery_queue import KEY_PREFIX, QUEUE
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Item
from app.jobs.redis_scripts import PREFIX
from app.jobs.redis_store import LOST_SECONDS, RedisJobStore
from tests.support.clock import Clock
from tests.support.configuration import ROOT
from tests.support.documentation import table_below
from tests.support.job_stores import TTL
from tests.support.jobs import an_output, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

A, B, C = "a" * 32, "b" * 32, "c" * 32
TASKS = "a-queue"


@pytest.fixture
def store(redis: RedisServer, clock: Clock, patient_jobs: None) -> Iterator[RedisJobStore]:
    redis.command("FLUSHALL")
    store = RedisJobStore(redis.url, TTL, clock)
    yield store
    store.close()


def claimed(store: RedisJobStore) -> tuple[str, int, int] | None:
    """Return job, number and losses of the next item."""
    claim = store.claim()
    return (claim.task.job.id, claim.task.item.number, claim.losses) if claim else None


def order(store: RedisJobStore, number: int) -> list[str]:
    """Return the jobs of the next items by their first letter."""
    claims = [store.claim() for _ in range(number)]
    return [claim.task.job.id[0] if claim else "-" for claim in claims]


def all_items(store: RedisJobStore, job_id: str) -> list[Item]:
    return list(store.items(job_id))


def test_the_jobs_of_an_owner_take_turns(store: RedisJobStore) -> None:
    for job_id, photos in ((A, 4), (B, 2)):
        store.add(new_job(job_id, photos=photos))
    assert order(store, 3) == ["a", "b", "a"]
    store.add(new_job(C, photos=1))
    assert sorted(order(store, 2)) == ["b", "c"]
    assert order(store, 3) == ["a", "a", "-"]


def test_owners_take_turns(store: RedisJobStore) -> None:
    for job_id, owner in ((A, "shop"), (B, "shop"), (C, "other")):
        store.add(new_job(job_id, owner=owner, photos=3))
    assert order(store, 6).count("c") == 3


def test_the_items_of_a_job_are_taken_in_order_and_once(store: RedisJobStore) -> None:
    store.add(new_job(A, photos=3))
    assert [claimed(store) for _ in range(4)] == [(A, 1, 0), (A, 2, 0), (A, 3, 0), None]


def test_the_items_of_a_lost_worker_are_taken_again_first(store: RedisJobStore, clock: Clock) -> None:
    store.add(new_job(A, photos=3))
    claimed(store)
    clock.now += LOST_SECONDS - 1
    assert claimed(store) == (A, 2, 0)
    clock.now += 1
    assert claimed(store) == (A, 1, 1)
    assert claimed(store) == (A, 3, 0)
    clock.now += LOST_SECONDS
    assert sorted(filter(None, (claimed(store) for _ in range(3)))) == [(A, 1, 2), (A, 2, 1), (A, 3, 1)]


def test_a_worker_that_reports_keeps_its_items(store: RedisJobStore, clock: Clock) -> None:
    store.add(new_job(A, photos=1))
    claimed(store)
    for _ in range(10):
        clock.now += LOST_SECONDS / 2
        store.report("worker", [(A, 1)])
        assert claimed(store) is None


def test_a_report_does_not_bring_back_a_finished_item(store: RedisJobStore, clock: Clock) -> None:
    store.add(new_job(A, photos=1))
    claimed(store)
    store.finish(A, 1, [an_output(A)], None)
    store.report("worker", [(A, 1)])
    clock.now += LOST_SECONDS
    assert claimed(store) is None


def test_a_late_outcome_of_a_lost_worker_counts_if_it_is_the_first(store: RedisJobStore, clock: Clock) -> None:
    store.add(new_job(A, photos=1))
    claimed(store)
    clock.now += LOST_SECONDS
    assert claimed(store) == (A, 1, 1)
    assert store.finish(A, 1, [an_output(A)], None) is True
    assert store.finish(A, 1, [], None) is False
    assert all_items(store, A)[0].outputs == (an_output(A),)


def test_a_release_does_not_count_as_a_loss(store: RedisJobStore) -> None:
    store.add(new_job(A, photos=1))
    for _ in range(5):
        assert claimed(store) == (A, 1, 0)
        store.release(A, 1)


def test_deleted_jobs_leave_nothing_to_take(store: RedisJobStore, clock: Clock) -> None:
    store.add(new_job(A))
    store.add(new_job(B))
    claimed(store)
    store.delete(A)
    clock.now += LOST_SECONDS
    assert order(store, 3) == ["b", "b", "-"]


def test_tasks_are_missing_for_waiting_items_and_those_of_lost_workers(
    store: RedisJobStore, redis: RedisServer, clock: Clock
) -> None:
    store.add(new_job(A, photos=3))
    assert store.missing_tasks(TASKS) == 3
    redis.command(f"LPUSH {TASKS} task task")
    assert store.missing_tasks(TASKS) == 1
    claimed(store)
    assert store.missing_tasks(TASKS) == 0
    clock.now += LOST_SECONDS
    assert store.missing_tasks(TASKS) == 1
    redis.command(f"LPUSH {TASKS} task task")
    assert store.missing_tasks(TASKS) == 0


def test_workers_are_counted_while_they_report(store: RedisJobStore, clock: Clock) -> None:
    assert store.queue_state(clock.now).workers == 0
    store.report("one", [])
    clock.now += LOST_SECONDS / 2
    store.report("two", [])
    assert store.queue_state(clock.now).workers == 2
    clock.now += LOST_SECONDS / 2 + 1
    assert store.queue_state(clock.now).workers == 1


def test_finished_items_are_counted_once(store: RedisJobStore) -> None:
    store.add(new_job(A, photos=2))
    for number in (1, 2):
        claimed(store)
        store.finish(A, number, [], None)
    assert store.take_finished() == {"done": 2}
    assert store.take_finished() == {}


def test_a_turn_has_one_owner_at_a_time(store: RedisJobStore) -> None:
    assert store.begin_turn("sender", 60)
    assert not store.begin_turn("sender", 60)
    store.end_turn("sender")
    assert store.begin_turn("sender", 0.05)
    wait_until(lambda: store.begin_turn("sender", 60))


def test_every_key_lives_longer_than_any_job_and_not_for_ever(store: RedisJobStore, redis: RedisServer) -> None:
    store.add(new_job(A, owner="shop", webhook_url="https://x.example/", client="c", idempotency_key="k"))
    store.add(new_job(B))
    claimed(store)
    claimed(store)
    store.finish(A, 1, [an_output(A)], None)
    store.finish(A, 2, [], None)
    store.report("worker", [])
    keys = re.findall(rf"{PREFIX}\S+", redis.command("KEYS *").decode())
    lives = {key: int(redis.command(f"TTL {key}")[1:]) for key in keys}
    assert {key for key, seconds in lives.items() if seconds < 0} == set()
    assert min(lives[f"{PREFIX}{name}:{A}"] for name in ("job", "items", "versions")) > 7 * 86_400 + TTL


def test_a_deleted_job_leaves_no_key(store: RedisJobStore, redis: RedisServer) -> None:
    store.add(new_job(A, owner="shop", webhook_url="https://x.example/", client="c", idempotency_key="k"))
    claimed(store)
    store.delete(A)
    left = set(re.findall(rf"{PREFIX}(\S+)", redis.command("KEYS *").decode()))
    assert left <= {"probe", "turn"}


def test_every_key_is_documented() -> None:
    source = "".join((ROOT / f"app/jobs/redis_{name}.py").read_text(encoding="utf-8") for name in ("scripts", "store"))
    used = {*re.findall(r"key\('([\w-]+)", source), *re.findall(r"\{PREFIX\}([\w-]+)", source)}
    rows = table_below("## Keys in Redis", (ROOT / "docs/workers.md").read_text(encoding="utf-8"))
    named = [row[0].strip("`") for row in rows]
    assert {name.removeprefix(PREFIX).split(":")[0] for name in named if name.startswith(PREFIX)} == used
    assert {KEY_PREFIX + QUEUE, KEY_PREFIX + "NAME"} == {name for name in named if not name.startswith(PREFIX)}


def test_a_large_job_is_stored_and_read_whole(store: RedisJobStore) -> None:
    assert store.add(new_job(A, photos=20_000)).counts.queued == 20_000
    assert [item.number for item in store.items(A)] == list(range(1, 20_001))
    assert store.delete(A)


def test_without_redis_every_method_fails_soon(clock: Clock, stalled_names: list[str]) -> None:
    store = RedisJobStore("redis://redis.invalid/0", TTL, clock)
    for _ in range(20):
        with pytest.raises(JobsUnavailable):
            store.add(new_job(A))
        with pytest.raises(JobsUnavailable):
            store.queue_state(clock.now)
    assert not store.up()
    # Not at each of the forty calls.
    assert stalled_names.count("redis.invalid") <= 2
    store.close()


def test_a_redis_that_is_almost_full_refuses_jobs_and_finishes_others(
    store: RedisJobStore, redis: RedisServer, clock: Clock
) -> None:
    store.add(new_job(A, photos=10_000))
    claimed(store)
    used = int(re.findall(r"used_memory:(\d+)", redis.command("INFO memory").decode())[0])
    redis.command(f"CONFIG SET maxmemory {int(used * 1.05)}")
    try:
        store.measure_memory()
        with pytest.raises(JobsUnavailable):
            store.add(new_job(B))
        assert not store.up()
        assert store.finish(A, 1, [an_output(A)], None)
        assert claimed(store) == (A, 2, 0)
        assert store.delete(A)
        store.measure_memory()
        assert store.add(new_job(B)).id == B
        assert store.up()
    finally:
        redis.command("CONFIG SET maxmemory 0")


def test_a_redis_that_is_full_counts_as_unavailable(store: RedisJobStore, redis: RedisServer) -> None:
    store.add(new_job(A))
    redis.command("CONFIG SET maxmemory 1")
    try:
        with pytest.raises(JobsUnavailable):
            store.add(new_job(B))
        wait_until(lambda: not store.up())
    finally:
        redis.command("CONFIG SET maxmemory 0")
    wait_until(store.up)
    assert store.add(new_job(B)).id == B
