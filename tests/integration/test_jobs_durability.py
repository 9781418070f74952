"""Jobs survive SIGKILL of the whole service: real gunicorn, engines, disk and webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from app.jobs.description import describe
from app.jobs.folder_files import FolderFiles
from app.jobs.model import Counts, Item, ItemState, Job, JobState, NewItem, NewJob, Variant
from app.jobs.names import with_bases
from app.jobs.service import DATABASE
from app.jobs.sqlite_store import SqliteStore
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.service import Post, Service, gone
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import Receiver, receiver

pytestmark = pytest.mark.integration

Start = Callable[..., Service]
TTL = 3600.0
PHOTOS = 30
FINISHED = {ItemState.DONE, ItemState.FAILED}


class Jobs:
    """Jobs in a folder, accepted as another web worker does; a service on the same folder processes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteStore(folder / DATABASE, TTL)
        self.files = FolderFiles(folder / "files")

    def submit(self, job_id: str, photos: Sequence[bytes], *variants: Variant, webhook_url: str = "") -> Job:
        items = list[NewItem]()
        for number, data in enumerate(photos, start=1):
            key = f"{job_id}/in-{number}"
            with self.files.create(key) as file:
                file.write(data)
            items.append(NewItem(f"photo {number}.jpg", key=key, size=len(data)))
        new = NewJob(job_id, "", variants or (Variant("", {}),), with_bases(items), webhook_url=webhook_url)
        return self.store.add(new)

    def job(self, job_id: str) -> Job:
        job = self.store.job(job_id)
        assert job is not None
        return job

    def finished(self, job_id: str) -> dict[int, Item]:
        return {item.number: item for item in self.store.items(job_id) if item.state in FINISHED}

    def wait(self, job_id: str) -> Job:
        wait_until(lambda: self.job(job_id).state is JobState.DONE, 120)
        return self.job(job_id)

    def check_outputs(self, job_id: str) -> None:
        """Compare every output with its recorded size and hash."""
        for item in self.store.items(job_id):
            for output in item.outputs:
                data = self.files.read(output.key)
                assert (len(data), hashlib.sha256(data).hexdigest()) == (output.size, output.sha256)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(tmp_path / "jobs")
    yield made
    made.store.close()


def photos(count: int = PHOTOS) -> list[bytes]:
    """Return different photos of 300 px."""
    small = photo("coffee").resize((300, 200))
    return [encoded(small.rotate(number), "JPEG", quality=80) for number in range(count)]


def kill_all(service: Service) -> None:
    """End master, web workers and engines at once, by SIGKILL."""
    everything = [psutil.Process(service.process.pid), *service.tree()]
    for process in everything:
        process.suspend()  # so that nobody acts upon the death of another
    for process in everything:
        process.kill()
    service.process.wait(60)
    assert gone(everything)


def test_a_job_is_finished_after_a_sigkill_of_everything(start: Start, jobs: Jobs) -> None:
    job_id = "a" * 32
    service = start(MODEL_NAME="lite", ENGINE_PROCESSES=2, JOBS_DIR=jobs.folder)
    wait_until(service.healthy)
    service.engines()[0].suspend()  # it keeps a photo, so that the job is not finished
    jobs.submit(job_id, photos())
    wait_until(lambda: len(jobs.finished(job_id)) >= PHOTOS // 4)
    kill_all(service)
    before = jobs.finished(job_id)
    assert len(before) < PHOTOS
    jobs.check_outputs(job_id)

    again = start(MODEL_NAME="lite", ENGINE_PROCESSES=2, JOBS_DIR=jobs.folder)
    job = jobs.wait(job_id)
    assert job.counts == Counts(done=PHOTOS)
    after = jobs.finished(job_id)
    assert {number: after[number].outputs for number in before} == {number: before[number].outputs for number in before}
    jobs.check_outputs(job_id)
    assert sorted(item.outputs[0].path for item in after.values()) == sorted(
        f"photo {n}.png" for n in range(1, PHOTOS + 1)
    )
    assert "jobs.recovered" in again.log.read_text()
    wait_until(again.healthy)  # the second engine may need longer than the photos


def test_two_web_workers_share_the_photos_and_one_of_them_may_be_killed(start: Start, jobs: Jobs) -> None:
    job_id = "b" * 32
    service = start(MODEL_NAME="lite", ENGINE_PROCESSES=1, WEB_CONCURRENCY=2, JOBS_DIR=jobs.folder)
    wait_until(service.healthy)
    workers = psutil.Process(service.process.pid).children()
    engines = [engine for worker in workers for engine in worker.children()]
    for engine in engines:
        engine.suspend()
    jobs.submit(job_id, photos())
    wait_until(lambda: len(jobs.store.processes()) == 2)  # each worker has a photo
    for engine in engines:
        engine.resume()
    wait_until(lambda: len(finishers(service)) == 2)
    workers[0].kill()
    assert jobs.wait(job_id).counts == Counts(done=PHOTOS)
    jobs.check_outputs(job_id)


def finishers(service: Service) -> set[str]:
    """Return the process ids of the web workers that have finished photos."""
    return {line.split()[3] for line in service.log.read_text().splitlines() if "job.photo_finished" in line}


def test_a_restart_in_order_finishes_every_photo_once(start: Start, jobs: Jobs) -> None:
    job_id = "c" * 32
    jobs.submit(job_id, photos())
    service = start(MODEL_NAME="lite", ENGINE_PROCESSES=1, JOBS_DIR=jobs.folder)
    wait_until(lambda: len(jobs.finished(job_id)) >= PHOTOS // 4)
    assert service.stop() == 0
    assert jobs.job(job_id).counts.running == 0
    assert jobs.store.processes() == []
    assert list((jobs.folder / "processes").iterdir()) == []
    again = start(MODEL_NAME="lite", ENGINE_PROCESSES=1, JOBS_DIR=jobs.folder)
    assert jobs.wait(job_id).counts == Counts(done=PHOTOS)
    lines = service.log.read_text() + again.log.read_text()
    assert lines.count("job.photo_finished") == PHOTOS
    assert "jobs.recovered" not in lines


def test_each_preset_gives_a_result(start: Start, jobs: Jobs) -> None:
    job_id = "d" * 32
    variants = Variant("web", {"format": "JPEG", "background": "white"}), Variant("small", {"max_width": "100"})
    jobs.submit(job_id, [jpeg("coffee"), b"\xff\xd8\xff not a photo"], *variants)
    start(MODEL_NAME="lite", ENGINE_PROCESSES=1, JOBS_DIR=jobs.folder)
    assert jobs.wait(job_id).counts == Counts(done=1, failed=1)
    good, bad = jobs.store.items(job_id)
    assert [output.path for output in good.outputs] == ["web/photo 1.jpg", "small/photo 1.png"]
    sizes = [opened(jobs.files.read(output.key)).size for output in good.outputs]
    assert sizes == [(output.width, output.height) for output in good.outputs]
    assert sizes[1][0] == 100
    assert bad.error is not None
    assert (bad.error.code, bad.outputs) == ("CORRUPT_IMAGE", ())


def test_a_webhook_is_retried_across_a_sigkill_and_signed(start: Start, jobs: Jobs) -> None:
    job_id, key = "e" * 32, "a key of webhooks"
    with receiver(*[500] * 9) as hooks:
        jobs.submit(job_id, photos(2), webhook_url=f"http://127.0.0.1:{hooks.port}/hook")
        settings = {"WEBHOOK_SECRET": key, "ALLOWED_URL_HOSTS": f"127.0.0.1:{hooks.port}", "JOBS_DIR": jobs.folder}
        lenient = "tests.support.lenient_app:create_lenient_app()"
        service = start(lenient, MODEL_NAME="lite", ENGINE_PROCESSES=1, **settings)
        wait_until(lambda: hooks.requests)
        wait_until(lambda: "webhook.not_delivered" in service.log.read_text())
        kill_all(service)
        refused = len(hooks.requests)
        hooks.statuses.clear()
        again = start(lenient, MODEL_NAME="lite", ENGINE_PROCESSES=1, **settings)
        wait_until(lambda: "webhook.delivered" in again.log.read_text())
        assert len(hooks.requests) == refused + 1
        check_webhook(hooks, key, jobs, job_id)


def check_webhook(hooks: Receiver, key: str, jobs: Jobs, job_id: str) -> None:
    for path, headers, body in hooks.requests:
        assert path == "/hook"
        assert headers["X-Signature"] == f"sha256={hmac.digest(key.encode(), body, 'sha256').hex()}"
        content = json.loads(body)
        assert content.pop("timestamp") >= jobs.job(job_id).created
        assert content == describe(jobs.job(job_id))


def test_webhooks_into_the_own_network_are_refused(start: Start, jobs: Jobs) -> None:
    job_id = "f" * 32
    with receiver() as hooks:
        jobs.submit(job_id, photos(1), webhook_url=f"http://127.0.0.1:{hooks.port}/hook")
        settings = {"WEBHOOK_SECRET": "k", "ALLOWED_URL_HOSTS": f"127.0.0.1:{hooks.port}", "JOBS_DIR": jobs.folder}
        service = start(ENGINE_PROCESSES=1, **settings)
        wait_until(lambda: "webhook.not_delivered" in service.log.read_text())
        assert hooks.requests == []


def test_a_damaged_state_leaves_single_photos_working(start: Start, jobs: Jobs) -> None:
    jobs.folder.mkdir()
    (jobs.folder / DATABASE).write_bytes(b"not a database" * 1000)
    service = start(ENGINE_PROCESSES=1, JOBS_DIR=jobs.folder)
    wait_until(lambda: service.request("/health").json["status"] == "degraded")
    report = service.request("/health").json
    assert report["reason"] == "Jobs are unavailable; single photos are processed."
    assert service.request("/remove-background", jpeg("coffee")).status == 200
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "jobs.unavailable" in log
    for path in jobs.folder.glob(f"{DATABASE}*"):
        path.unlink()
    wait_until(service.healthy)
    jobs.submit("9" * 32, photos(1))
    assert jobs.wait("9" * 32).counts == Counts(done=1)


def test_interactive_requests_go_before_the_photos_of_a_job(start: Start, jobs: Jobs) -> None:
    job_id = "8" * 32
    service = start(MODEL_NAME="lite", ENGINE_PROCESSES=1, JOBS_DIR=jobs.folder)
    (engine,) = service.engines()
    engine.suspend()
    jobs.submit(job_id, photos())
    wait_until(lambda: jobs.job(job_id).counts.running)
    names = [f"interactive-{number}" for number in range(3)]
    posts = [Post(service, "/remove-background", jpeg("coffee"), {"X-Request-ID": name}) for name in names]
    wait_until(lambda: all(f"request_id={name} image.received" in service.log.read_text() for name in names))
    engine.resume()
    assert [post.result().status for post in posts] == [200] * 3
    jobs.wait(job_id)
    log = service.log.read_text()
    last = max(log.index(f"request_id={name} image.succeeded") for name in names)
    assert log[:last].count("job.photo_finished") < PHOTOS // 2
