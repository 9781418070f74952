"""Jobs of the local backend, over pretended engines."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from app.errors import CorruptImage, ModelUnavailable, NotFound, ShuttingDown
from app.jobs.errors import IdempotencyConflict
from app.jobs.model import Counts, Item, JobState
from app.jobs.processes import Processes
from app.jobs.service import DATABASE, open_jobs
from app.jobs.sqlite_store import SqliteStore
from app.jobs.work import MAX_LOSSES
from app.removal import RemovalRequest
from app.settings import Settings
from tests.support.job_doubles import PHOTO, FakeEngine, Observed
from tests.support.local_service import A, Gate, Make, ended, submitted
from tests.support.waiting import in_thread, wait_until

B = "b" * 32


def codes(items: list[Item]) -> list[str]:
    return [item.error.code if item.error else "" for item in items]


def test_a_job_is_processed(make: Make, engine: FakeEngine) -> None:
    observer = Observed()
    service = make(observer=observer)
    service.start()
    job = submitted(service)
    assert (job.state, job.counts.total) == (JobState.QUEUED, 3)
    assert ended(service).counts == Counts(done=3)
    wait_until(lambda: len(observer.events) == 4)  # the outcome is stored before it is counted
    items = service.items(job)
    assert [item.outputs[0].path for item in items] == ["photo-1.png", "photo-2.png", "photo-3.png"]
    assert [service.files.read(item.outputs[0].key) for item in items] == [
        (PHOTO + str(number).encode())[::-1] for number in (1, 2, 3)
    ]
    assert service.item(job, 2) == items[1]
    assert sorted(observer.events) == ["accepted", "done", "done", "done"]


def test_one_bad_photo_is_one_failed_item(make: Make, engine: FakeEngine) -> None:
    def refuse_the_second(request: RemovalRequest) -> None:
        if request.image.endswith(b"2"):
            raise CorruptImage()

    engine.before = refuse_the_second
    service = make()
    service.start()
    job = submitted(service)
    assert ended(service).counts == Counts(done=2, failed=1)
    assert codes(list(service.items(job))) == ["", "CORRUPT_IMAGE", ""]


def test_a_job_of_before_the_start_is_processed(make: Make) -> None:
    submitted(make())
    later = make()
    later.start()
    assert ended(later).counts == Counts(done=3)


def test_a_job_that_another_process_has_accepted_is_processed(make: Make) -> None:
    web, worker = make(), make()
    worker.start()
    submitted(web)
    assert ended(web).counts == Counts(done=3)


def test_a_job_is_seen_by_its_owner_alone(make: Make) -> None:
    service = make()
    submitted(service, owner="shop")
    assert service.find(A, "shop").id == A
    for job_id, owner in ((A, "other"), (A, ""), (B, "shop"), ("../x", "shop")):
        with pytest.raises(NotFound):
            service.find(job_id, owner)
    assert [job.id for job in service.jobs_of("shop")] == [A]
    assert service.jobs_of("other") == []


def test_an_unknown_photo_is_not_found(make: Make) -> None:
    service = make()
    job = submitted(service)
    for number in (0, 4, -1):
        with pytest.raises(NotFound):
            service.item(job, number)


def test_ids_are_long_and_random(make: Make) -> None:
    service = make()
    ids = {service.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(job_id) for job_id in ids} == {32}


def test_a_repeated_request_gets_the_same_job(make: Make) -> None:
    observer = Observed()
    service = make(observer=observer)
    first = submitted(service, A, client="c", idempotency_key="k", digest="d")
    assert submitted(service, B, client="c", idempotency_key="k", digest="d") == first
    with pytest.raises(FileNotFoundError):
        service.files.read(f"{B}/in-1")
    assert observer.events == ["accepted"]


def test_an_idempotency_key_is_for_one_content(make: Make) -> None:
    service = make()
    submitted(service, A, client="c", idempotency_key="k", digest="d")
    with pytest.raises(IdempotencyConflict):
        submitted(service, B, client="c", idempotency_key="k", digest="other")
    with pytest.raises(FileNotFoundError):
        service.files.read(f"{B}/in-1")


def test_a_deleted_job_is_gone_while_its_photo_is_in_work(make: Make, engine: FakeEngine, tmp_path: Path) -> None:
    engine.before = gate = Gate()
    service = make(threads=1)
    service.start()
    job = submitted(service)
    gate.reached.acquire()
    service.delete(job)
    gate.opened.set()
    with pytest.raises(NotFound):
        service.find(A, "")
    submitted(service, B)
    ended(service, B)
    assert len(engine.requests) == 1 + 3
    wait_until(lambda: [path.name for path in (tmp_path / "files").iterdir()] == [B])


# Engines


def test_a_photo_without_an_engine_is_done_later(
    make: Make, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.work.PAUSE_SECONDS", 0.1)
    away = threading.Event()

    def before(_: RemovalRequest) -> None:
        if not away.is_set():
            raise ModelUnavailable()

    engine.before = before
    service = make()
    service.start()
    submitted(service)
    wait_until(lambda: engine.requests)
    assert service.find(A, "").counts.finished == 0
    away.set()
    assert ended(service).counts == Counts(done=3)


def test_a_shutdown_of_the_engines_ends_the_threads_and_keeps_the_photos(make: Make, engine: FakeEngine) -> None:
    def closing(_: RemovalRequest) -> None:
        raise ShuttingDown()

    engine.before = closing
    service = make(threads=1)
    service.start()
    submitted(service)
    wait_until(lambda: engine.requests)
    wait_until(lambda: service.find(A, "").counts == Counts(queued=3))
    service.stop()
    assert len(engine.requests) == 1
    later = make(FakeEngine())
    later.start()
    assert ended(later).counts == Counts(done=3)


def test_stop_waits_for_the_photo_in_work(make: Make, engine: FakeEngine) -> None:
    engine.before = gate = Gate()
    service = make(threads=1, grace=300)
    service.start()
    submitted(service)
    gate.reached.acquire()
    stopping = in_thread(service.stop)
    wait_until(engine.deadlines[0].client_gone)  # no other photo is claimed any more
    gate.opened.set()
    stopping.result(300)
    assert service.find(A, "").counts == Counts(queued=2, done=1)


def test_stop_queues_a_photo_again_that_takes_too_long(make: Make, engine: FakeEngine) -> None:
    engine.before = gate = Gate()
    service = make(threads=1, grace=0)
    service.start()
    submitted(service, photos=1)
    gate.reached.acquire()
    service.stop()
    assert service.find(A, "").counts == Counts(queued=1)
    later = make(FakeEngine())
    later.start()
    done = ended(later)
    items = later.items(done)
    gate.opened.set()  # the first thread finishes too late
    assert later.items(done) == items


def test_a_service_that_never_started_can_be_stopped(make: Make) -> None:
    make().stop()


# Ended processes


class DeadProcess:
    """A process that has claimed photos and ended."""

    def __init__(self, folder: Path) -> None:
        self.processes = Processes(folder / "processes")
        self.processes.enter()
        self.store = SqliteStore(folder / DATABASE, 100)
        while self.store.claim(self.processes.name):
            pass
        self.store.close()

    def end(self) -> None:
        self.processes.leave()


def test_photos_of_an_ended_process_are_done_by_another(make: Make, tmp_path: Path) -> None:
    submitted(make())
    DeadProcess(tmp_path).end()
    later = make()
    later.start()
    assert ended(later).counts == Counts(done=3)


def test_photos_of_a_process_that_ends_later_are_done_by_another(
    make: Make, tmp_path: Path, engine: FakeEngine
) -> None:
    submitted(make())
    other = DeadProcess(tmp_path)
    later = make()
    later.start()
    submitted(later, B)
    ended(later, B)
    assert later.find(A, "").counts == Counts(running=3)
    other.end()
    assert ended(later).counts == Counts(done=3)


def test_a_photo_that_ends_processes_fails(make: Make, tmp_path: Path, engine: FakeEngine) -> None:
    service = make()
    submitted(service, photos=1)
    store = SqliteStore(tmp_path / DATABASE, 100)
    for number in range(MAX_LOSSES):
        assert store.claim(f"dead-{number}") is not None
        assert store.give_back(f"dead-{number}", died=True) == 1
    store.close()
    service.start()
    assert ended(service).counts == Counts(failed=1)
    assert codes(list(service.items(service.find(A, "")))) == ["INTERNAL"]
    assert engine.requests == []


# Settings


def test_jobs_may_be_off(fake_pool: Any) -> None:
    assert open_jobs(Settings(jobs_backend="off"), fake_pool, None, Observed(), 1) is None  # type: ignore[arg-type]


def test_nothing_is_opened_before_the_start(tmp_path: Path, fake_pool: Any) -> None:
    settings = Settings(jobs_dir=tmp_path / "jobs")
    jobs = open_jobs(settings, fake_pool, None, Observed(), 1)  # type: ignore[arg-type]
    assert jobs is not None
    assert not (tmp_path / "jobs").exists()
