"""Contract of all stores of jobs; `tests/support/job_stores.py` lists the stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import CorruptImage
from app.jobs.model import Counts, ItemError, ItemState, Job, JobState, NewItem, Variant
from app.jobs.store import JobStore
from tests.support.clock import Clock
from tests.support.job_stores import STORES, TTL, Place, StoreKind
from tests.support.jobs import an_output, new_job
from tests.support.servers import RedisServer

A, B = "a" * 32, "b" * 32
ERROR = ItemError.of(CorruptImage(details="it ends after 3 bytes"))


@pytest.fixture(params=STORES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> StoreKind:
    found: StoreKind = request.param
    return found


@pytest.fixture
def place(kind: StoreKind, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    if kind.name != "redis":
        return Place(tmp_path)
    redis: RedisServer = request.getfixturevalue("redis")
    redis.command("FLUSHALL")
    return Place(tmp_path, redis.url)


@pytest.fixture
def store(kind: StoreKind, place: Place, clock: Clock, patient_jobs: None) -> Iterator[JobStore]:
    made = kind.make(place, clock)
    yield made
    made.close()


def stored(store: JobStore, job_id: str) -> Job:
    job = store.job(job_id)
    assert job is not None
    return job


def states(store: JobStore, job_id: str) -> list[ItemState]:
    return [item.state for item in store.items(job_id)]


def test_a_job_is_stored_with_all_its_fields(store: JobStore, clock: Clock) -> None:
    variants = (Variant("web", {"format": "WEBP", "quality": "70"}), Variant("größe", {}))
    new = new_job(
        A, owner="shop", variants=variants, background=f"{A}/bg", webhook_url="https://x.example/", digest="d"
    )
    job = store.add(new)
    assert (job.id, job.owner, job.state) == (A, "shop", JobState.QUEUED)
    assert (job.created, job.started, job.ended) == (clock.now, None, None)
    assert job.expires > clock.now + TTL
    assert job.counts == Counts(queued=2)
    assert (job.variants, job.background, job.webhook_url) == (variants, f"{A}/bg", "https://x.example/")
    assert job.digest == "d"
    assert store.job(A) == job


def test_the_items_are_stored_with_all_their_fields(store: JobStore) -> None:
    store.add(
        new_job(A, items=(NewItem("é.jpg", "é", f"{A}/in-1", "", 7), NewItem("x", "x-2", url="https://x.example/")))
    )
    first, second = store.items(A)
    assert (first.number, first.name, first.base, first.key, first.url, first.size) == (
        1,
        "é.jpg",
        "é",
        f"{A}/in-1",
        "",
        7,
    )
    assert (second.number, second.base, second.key, second.url) == (2, "x-2", "", "https://x.example/")
    assert {first.state, second.state} == {ItemState.QUEUED}
    assert (first.error, first.outputs) == (None, ())
    assert store.item(A, 2) == second


def test_unknown_jobs_and_items_are_none(store: JobStore) -> None:
    assert store.job(A) is None
    assert store.items(A) == []
    assert store.item(A, 1) is None
    assert store.delete(A) is False
    store.add(new_job(A))
    assert store.item(A, 0) is None
    assert store.item(A, 3) is None


def test_an_item_that_cannot_be_processed_has_failed_at_once(store: JobStore) -> None:
    job = store.add(new_job(A, items=(NewItem("x", "x", error=ERROR), NewItem("y", "y", f"{A}/in-2"))))
    assert (job.state, job.counts) == (JobState.QUEUED, Counts(queued=1, failed=1))
    assert store.items(A)[0].error == ERROR


def test_a_job_without_a_processable_item_is_done_at_once(store: JobStore, clock: Clock) -> None:
    job = store.add(new_job(A, items=(NewItem("x", "x", error=ERROR),), webhook_url="https://x.example/"))
    assert (job.state, job.ended, job.expires) == (JobState.DONE, clock.now, clock.now + TTL)
    assert store.take_delivery(clock.now, 60) is not None


def test_items_begin_and_finish(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    store.add(new_job(A))
    clock.now += 5
    number = kind.begin(store)
    running = stored(store, A)
    assert (running.state, running.started, running.counts) == (
        JobState.RUNNING,
        clock.now,
        Counts(queued=1, running=1),
    )
    assert states(store, A) == [ItemState.RUNNING, ItemState.QUEUED]

    assert store.finish(A, number, [an_output(A)], None) is True
    item = store.items(A)[0]
    assert (item.state, item.outputs, item.error) == (ItemState.DONE, (an_output(A),), None)

    clock.now += 5
    assert store.finish(A, kind.begin(store), [], ERROR) is True
    ended = stored(store, A)
    assert (ended.state, ended.ended, ended.expires) == (JobState.DONE, clock.now, clock.now + TTL)
    assert ended.counts == Counts(done=1, failed=1)
    assert store.items(A)[1].error == ERROR


def test_an_item_may_fail_with_some_of_its_outputs(store: JobStore, kind: StoreKind) -> None:
    store.add(new_job(A))
    store.finish(A, kind.begin(store), [an_output(A)], ERROR)
    item = store.items(A)[0]
    assert (item.state, item.outputs, item.error) == (ItemState.FAILED, (an_output(A),), ERROR)


def test_an_item_is_finished_once(store: JobStore, kind: StoreKind) -> None:
    store.add(new_job(A))
    number = kind.begin(store)
    assert store.finish(A, number, [an_output(A)], None) is True
    before = stored(store, A), store.items(A)
    assert store.finish(A, number, [], ERROR) is False
    assert (stored(store, A), store.items(A)) == before


def test_an_item_that_was_queued_again_may_still_be_finished_by_its_first_worker(
    store: JobStore, kind: StoreKind
) -> None:
    store.add(new_job(A))
    number = kind.begin(store)
    store.release(A, number)
    assert store.finish(A, number, [an_output(A)], None) is True
    assert stored(store, A).counts == Counts(queued=1, done=1)


def test_a_released_item_is_queued_and_begins_again(store: JobStore, kind: StoreKind) -> None:
    store.add(new_job(A))
    number = kind.begin(store)
    store.release(A, number)
    assert stored(store, A).counts == Counts(queued=2)
    assert states(store, A) == [ItemState.QUEUED, ItemState.QUEUED]
    assert sorted([kind.begin(store), kind.begin(store)]) == [1, 2]


def test_a_finished_or_deleted_item_is_not_released(store: JobStore, kind: StoreKind) -> None:
    store.add(new_job(A))
    store.finish(A, kind.begin(store), [], None)
    before = stored(store, A)
    store.release(A, 1)
    assert stored(store, A) == before
    store.delete(A)
    store.release(A, 1)
    assert store.job(A) is None


def test_every_change_of_an_item_has_a_new_version(store: JobStore, kind: StoreKind) -> None:
    version = store.add(new_job(A)).version
    assert store.items(A, changed_after=version) == []
    number = kind.begin(store)
    (changed,) = store.items(A, changed_after=version)
    version = stored(store, A).version
    assert (changed.number, changed.version) == (number, version)
    store.finish(A, number, [], None)
    (changed,) = store.items(A, changed_after=version)
    assert (changed.state, changed.version) == (ItemState.DONE, stored(store, A).version)


def test_a_deleted_job_is_gone_and_cannot_be_finished(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    store.add(new_job(A, photos=1, webhook_url="https://x.example/"))
    number = kind.begin(store)
    assert store.delete(A) is True
    assert store.job(A) is None
    assert store.items(A) == []
    assert store.jobs_of("") == []
    assert store.finish(A, number, [an_output(A)], None) is False
    assert store.take_delivery(clock.now, 60) is None
    assert store.queue_state(clock.now).queued == 0


def test_jobs_are_listed_by_owner_the_newest_first(store: JobStore, clock: Clock) -> None:
    first = store.add(new_job(A, owner="shop"))
    clock.now += 1
    second = store.add(new_job(B, owner="shop"))
    store.add(new_job("c" * 32, owner="other"))
    assert store.jobs_of("shop") == [second, first]
    assert store.jobs_of("nobody") == []


def test_an_idempotency_key_gives_the_earlier_job(store: JobStore) -> None:
    first = store.add(new_job(A, client="shop", idempotency_key="k", digest="d"))
    assert store.add(new_job(B, client="shop", idempotency_key="k", digest="other")) == first
    assert store.job(B) is None
    assert store.add(new_job(B, client="other", idempotency_key="k")).id == B


def test_jobs_without_an_idempotency_key_are_different(store: JobStore) -> None:
    assert store.add(new_job(A)).id == A
    assert store.add(new_job(B)).id == B


def test_the_idempotency_key_of_a_deleted_job_is_free(store: JobStore) -> None:
    store.add(new_job(A, client="shop", idempotency_key="k"))
    store.delete(A)
    assert store.add(new_job(B, client="shop", idempotency_key="k")).id == B


def test_jobs_expire_after_their_end(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    store.add(new_job(A, photos=1))
    store.finish(A, kind.begin(store), [], None)
    store.add(new_job(B))
    assert store.expired(clock.now + TTL - 1) == []
    assert store.expired(clock.now + TTL) == [A]


def test_a_job_that_never_ends_expires_too(store: JobStore, clock: Clock) -> None:
    job = store.add(new_job(A))
    assert store.expired(clock.now + 2 * TTL) == []
    assert store.expired(job.expires) == [A]


def test_a_webhook_is_due_at_the_end_and_reserved(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    store.add(new_job(A, photos=1, webhook_url="https://x.example/"))
    assert store.take_delivery(clock.now, 60) is None
    store.finish(A, kind.begin(store), [], None)
    delivery = store.take_delivery(clock.now, 60)
    assert delivery is not None
    assert (delivery.job_id, delivery.url, delivery.attempts) == (A, "https://x.example/", 0)
    assert store.take_delivery(clock.now + 59, 60) is None
    assert store.take_delivery(clock.now + 60, 60) == delivery  # its process has ended


def test_a_failed_webhook_is_due_again(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    store.add(new_job(A, photos=1, webhook_url="https://x.example/"))
    store.finish(A, kind.begin(store), [], None)
    store.take_delivery(clock.now, 60)
    store.end_delivery(A, clock.now + 30)
    assert store.take_delivery(clock.now + 29, 60) is None
    delivery = store.take_delivery(clock.now + 30, 60)
    assert delivery is not None
    assert delivery.attempts == 1
    store.end_delivery(A, None)
    assert store.take_delivery(clock.now + 1000, 60) is None


def test_a_job_without_a_webhook_has_no_delivery(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    store.add(new_job(A, photos=1))
    store.finish(A, kind.begin(store), [], None)
    assert store.take_delivery(clock.now, 60) is None


def test_the_end_of_a_delivery_of_a_deleted_job_is_ignored(store: JobStore, clock: Clock) -> None:
    store.end_delivery(A, clock.now)
    assert store.take_delivery(clock.now, 60) is None


def test_the_state_of_the_queue(store: JobStore, kind: StoreKind, clock: Clock) -> None:
    empty = store.queue_state(clock.now)
    assert (empty.queued, empty.running, empty.oldest_seconds) == (0, 0, 0)
    store.add(new_job(A))
    clock.now += 10
    kind.begin(store)
    state = store.queue_state(clock.now)
    assert (state.queued, state.running, state.oldest_seconds) == (1, 1, 10)
    store.finish(A, 1, [], None)
    store.finish(A, kind.begin(store), [], None)
    assert store.queue_state(clock.now) == empty


def test_the_state_outlives_its_process(store: JobStore, kind: StoreKind, place: Place, clock: Clock) -> None:
    store.add(new_job(A))
    store.finish(A, kind.begin(store), [an_output(A)], None)
    before = stored(store, A), store.items(A)
    store.close()
    again = kind.make(place, clock)
    assert (again.job(A), again.items(A)) == before
    again.close()
