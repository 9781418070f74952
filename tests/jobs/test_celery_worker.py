"""Work of a worker on one photo for each task: a real Redis, a pretended engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import ModelUnavailable
from app.jobs.celery_queue import build_celery
from app.jobs.celery_worker import MAX_IDLE_REPORTS, JobWorker, StallDetector
from app.jobs.model import Counts, Job
from app.jobs.redis_store import LOST_SECONDS, RedisJobStore
from app.jobs.shared_folder import MARK, WebFolder
from app.jobs.work import MAX_LOSSES
from app.removal import RemovalRequest
from app.settings import Settings
from tests.support.job_doubles import PHOTO, FakeEngine
from tests.support.jobs import new_job
from tests.support.servers import RedisServer
from tests.support.waiting import in_thread, wait_until


@pytest.fixture
def store(redis: RedisServer, patient_jobs: None) -> Iterator[RedisJobStore]:
    redis.command("FLUSHALL")
    store = RedisJobStore(redis.url, 60)
    yield store
    store.close()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def worker(redis: RedisServer, store: RedisJobStore, engine: FakeEngine, tmp_path: Path) -> Iterator[JobWorker]:
    """A worker that is not started, so that it reports nothing and sends no tasks."""
    settings = Settings(jobs_backend="celery", jobs_storage=tmp_path.as_uri(), redis_url=redis.url)
    WebFolder(tmp_path).check()
    worker = JobWorker(settings, build_celery(settings), threads=2)
    worker._tools = replace(worker._tools, submitter=engine)
    yield worker
    worker.stop()


def submit(worker: JobWorker, store: RedisJobStore, photos: int = 1) -> Job:
    job = new_job(photos=photos)
    for item in job.items:
        with worker._tools.files.create(item.key) as file:
            file.write(PHOTO)
    return store.add(job)


def counts(store: RedisJobStore, job: Job) -> Counts:
    found = store.job(job.id)
    assert found is not None
    return found.counts


def store_ahead(redis: RedisServer, losses: int) -> RedisJobStore:
    """Return the store of a time at which that many workers were lost, one after the other."""
    return RedisJobStore(redis.url, 60, lambda: time.time() + losses * LOST_SECONDS)


def test_each_task_is_one_photo(worker: JobWorker, store: RedisJobStore) -> None:
    job = submit(worker, store, photos=2)
    assert [worker.run_one() for _ in range(3)] == ["done", "done", ""]
    assert counts(store, job) == Counts(done=2)
    (output,) = store.items(job.id)[0].outputs
    assert worker._tools.files.read(output.key) == PHOTO[::-1]


def test_a_missing_photo_fails_alone(worker: JobWorker, store: RedisJobStore) -> None:
    job = store.add(new_job(photos=1))
    assert worker.run_one() == "failed"
    assert counts(store, job) == Counts(failed=1)


def test_a_photo_waits_for_a_folder_that_is_not_mounted(
    worker: JobWorker, store: RedisJobStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = submit(worker, store)
    mounted, bare = tmp_path / job.id, tmp_path.with_name(f"{tmp_path.name}-unmounted")
    tmp_path.rename(bare)
    tmp_path.mkdir()
    worker._ending.set()  # no pause before the next attempt
    claim = store.claim()
    assert claim is not None and worker._work_on(claim) == "queued again"
    assert counts(store, job) == Counts(queued=1)
    assert f"{MARK} is missing" in caplog.text
    tmp_path.rmdir()
    bare.rename(tmp_path)
    worker._ending.clear()
    assert mounted.is_dir() and worker.run_one() == "done"


def test_a_photo_that_ends_workers_is_not_tried_for_ever(
    worker: JobWorker, store: RedisJobStore, engine: FakeEngine, redis: RedisServer
) -> None:
    job = submit(worker, store)
    for lost in range(MAX_LOSSES):
        ahead = store_ahead(redis, lost)
        claim = ahead.claim()
        assert claim is not None and claim.losses == lost
        ahead.close()
    worker._store = store_ahead(redis, MAX_LOSSES)
    assert worker.run_one() == "failed"
    error = store.items(job.id)[0].error
    assert error is not None and error.code == "INTERNAL" and "3 workers were lost" in error.message
    assert engine.requests == []


def test_a_photo_without_a_model_is_queued_again(worker: JobWorker, store: RedisJobStore, engine: FakeEngine) -> None:
    def fail(_: RemovalRequest) -> None:
        worker.drain()  # ends the pause before the next attempt
        raise ModelUnavailable()

    job, engine.before = submit(worker, store), fail
    assert worker.run_one() == "queued again"
    assert counts(store, job) == Counts(queued=1)
    assert worker.run_one() == ""  # it is ending


def test_an_outcome_is_stored_as_soon_as_redis_answers(
    worker: JobWorker,
    store: RedisJobStore,
    engine: FakeEngine,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = threading.Event()

    def freeze(_: RemovalRequest) -> None:
        redis.freeze()
        monkeypatch.setattr("app.jobs.redis_store.MAX_WAIT", 0.5)
        frozen.set()

    job, engine.before = submit(worker, store), freeze
    working = in_thread(worker.run_one)
    try:
        assert frozen.wait(300)
        wait_until(lambda: not worker._store.up())
    finally:
        redis.thaw()
        monkeypatch.setattr("app.jobs.redis_store.MAX_WAIT", 300.0)
    assert working.result(300) == "done"
    wait_until(store.up)
    assert counts(store, job) == Counts(done=1)


def test_tasks_that_wait_beside_a_free_thread_are_a_stall() -> None:
    detector = StallDetector(threads=2)
    reports = [detector.is_stalled(waiting=3, running=1) for _ in range(MAX_IDLE_REPORTS)]
    assert reports == [False] * (MAX_IDLE_REPORTS - 1) + [True]


@pytest.mark.parametrize(("waiting", "running"), [(0, 0), (0, 1), (3, 2)], ids=["idle", "last photo", "busy"])
def test_without_a_waiting_task_or_a_free_thread_there_is_no_stall(waiting: int, running: int) -> None:
    detector = StallDetector(threads=2)
    assert not any(detector.is_stalled(waiting, running) for _ in range(2 * MAX_IDLE_REPORTS))


def test_a_taken_task_begins_the_count_again() -> None:
    detector = StallDetector(threads=2)
    for _ in range(5):
        assert not any(detector.is_stalled(3, 1) for _ in range(MAX_IDLE_REPORTS - 1))
        detector.task_taken()
