"""Jobs over Celery: a real Redis, real workers with real engines, and their failures."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from urllib3 import encode_multipart_formdata

from app.fetch.url_fetcher import UrlFetcher
from app.jobs.celery_queue import KEY_PREFIX
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Counts, Job, JobState, NewItem, NewJob, Variant
from app.jobs.redis_scripts import PREFIX
from app.jobs.redis_store import RedisJobStore
from app.jobs.service import JobService, open_jobs
from app.settings import Settings
from tests.support.attentive_worker import STALL_SECONDS
from tests.support.configuration import ROOT
from tests.support.job_doubles import FakeEngine, Observed
from tests.support.patient_app import PATIENT_APP
from tests.support.photos import encoded, opened, photo
from tests.support.servers import RedisServer, S3Server
from tests.support.service import Answer, Service, free_port
from tests.support.waiting import wait_until
from tests.support.workers import Worker, celery_program

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("patient_jobs")]

PHOTO = encoded(photo("coffee").resize((300, 200)), "JPEG")
# Log of a worker that ends after it has lost Redis: Celery takes no tasks any more, or has failed itself.
END_WITHOUT_REDIS = re.compile(" jobs.worker_stalled | celery.worker .* Unrecoverable error: ")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that keeps everything on disk."""
    server = RedisServer(free_port(), tmp_path_factory.mktemp("redis"), durable=True).start()
    yield server
    server.kill()


@dataclass
class Cluster:
    """A service without HTTP, and workers, which share a Redis and a storage."""

    folder: Path
    environment: dict[str, str]
    workers: dict[str, Worker] = field(default_factory=dict)

    def open(self) -> JobService:
        """Return the jobs of a web process, not started."""
        names = {
            name.lower(): value for name, value in self.environment.items() if name.lower() in Settings.model_fields
        }
        settings = Settings(**names)  # type: ignore[arg-type]
        service = open_jobs(settings, FakeEngine(), UrlFetcher(settings), Observed(), engines=1)
        assert service is not None
        return service

    @contextmanager
    def service(self) -> Iterator[JobService]:
        """Run the jobs of a web process."""
        service = self.open()
        service.start()
        try:
            yield service
        finally:
            service.stop()

    def worker(self, name: str) -> Worker:
        """Return a running worker."""
        worker = self.workers.get(name)
        if worker is None or not worker.alive():
            worker = self.workers[name] = Worker(name, self.folder / f"{name}.log", self.environment).start()
        return worker

    def end(self) -> None:
        for worker in self.workers.values():
            worker.kill()


@pytest.fixture(scope="module")
def cluster(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(folder, environment(redis, (folder / "storage").as_uri()))
    yield cluster
    cluster.end()


@pytest.fixture
def service(cluster: Cluster) -> Iterator[JobService]:
    with cluster.service() as service:
        yield service


def environment(redis: RedisServer, storage: str) -> dict[str, str]:
    return {
        "JOBS_BACKEND": "celery",
        "JOBS_STORAGE": storage,
        "REDIS_URL": redis.url,
        "ENGINE_PROCESSES": "1",
        "MODEL_NAME": "lite",
    }


def new_job(service: JobService, photos: int, **fields: str) -> NewJob:
    """Return a job whose photos are stored already."""
    service.check()  # as before an upload: it marks a shared folder
    job_id = service.new_id()
    items = [NewItem(f"photo-{number}.jpg", key=f"{job_id}/in-{number}") for number in range(1, photos + 1)]
    for item in items:
        with service.files.create(item.key) as file:
            file.write(PHOTO)
    return NewJob(job_id, "", (Variant("", {"format": "WEBP"}),), tuple(items), **fields)


def ended(service: JobService, job: Job) -> Job:
    """Return a job after its end."""
    wait_until(lambda: service.find(job.id, "").state is JobState.DONE, 120)
    return service.find(job.id, "")


def check_results(service: JobService, job: Job, photos: int) -> None:
    """Wait for the end of a job, all of whose photos must have exactly one result."""
    assert ended(service, job).counts == Counts(done=photos)
    for item in service.items(job):
        (output,) = item.outputs
        assert opened(service.files.read(output.key)).mode == "RGBA"


def post_job(web: Service) -> Answer:
    body, content_type = encode_multipart_formdata({"file": ("photo.jpg", PHOTO)})
    return web.request("/jobs", body, headers={"Content-Type": content_type})


def supervise(cluster: Cluster, condition: Callable[[], bool]) -> None:
    """Wait for a condition; start the worker again if it ends for one of the reasons in END_WITHOUT_REDIS."""

    def met() -> bool:
        worker = cluster.workers["two"]
        assert worker.alive() or END_WITHOUT_REDIS.search(worker.text()), worker.text()
        return cluster.worker("two").alive() and condition()

    wait_until(met, 300)


def test_two_workers_share_a_job(cluster: Cluster, service: JobService) -> None:
    workers = [cluster.worker("one"), cluster.worker("two")]
    before = [worker.photos() for worker in workers]
    frozen = [engine for worker in workers for engine in worker.freeze_engines()]
    job = service.submit(new_job(service, 20))
    wait_until(lambda: service.find(job.id, "").counts.running == 4)  # two of each worker, of which only one is busy
    for engine in frozen:
        engine.resume()
    check_results(service, job, 20)
    shares = [worker.photos() - earlier for worker, earlier in zip(workers, before, strict=True)]
    assert sum(shares) == 20
    assert min(shares) > 0


def test_the_photos_of_a_killed_worker_are_done_by_another(cluster: Cluster, service: JobService) -> None:
    killed, _ = cluster.worker("one"), cluster.worker("two")
    frozen = killed.freeze_engines()
    assert len(frozen) == 1
    job = service.submit(new_job(service, 8))
    # The other worker does all but the two that the frozen engine keeps: one in it, one that waits for it.
    wait_until(lambda: service.find(job.id, "").counts == Counts(running=2, done=6))
    killed.kill()
    check_results(service, job, 8)


def test_a_killed_redis_loses_no_job(cluster: Cluster, service: JobService, redis: RedisServer) -> None:
    cluster.worker("two")
    job = service.submit(new_job(service, 12))
    wait_until(lambda: service.find(job.id, "").counts.done > 0)
    redis.kill()
    with pytest.raises(JobsUnavailable):
        service.submit(new_job(service, 1))
    assert service.up() is False
    redis.start()
    wait_until(service.up)
    supervise(cluster, lambda: service.find(job.id, "").state is JobState.DONE)
    check_results(service, job, 12)
    check_results(service, service.submit(new_job(service, 1)), 1)


def test_without_redis_jobs_are_refused_and_photos_go_on(
    cluster: Cluster, redis: RedisServer, start: Callable[..., Service]
) -> None:
    cluster.worker("two")
    web = start(PATIENT_APP, **cluster.environment)
    accepted = post_job(web)
    assert accepted.status == 202
    redis.kill()
    for _ in range(3):
        refused = post_job(web)
        assert (refused.status, refused.json["code"]) == (503, "JOBS_UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) > 0
        assert web.request(accepted.headers["Location"]).status == 503
        assert web.request("/remove-background", PHOTO).status == 200
    assert web.request("/health").json["status"] == "degraded"
    assert web.ready()
    redis.start()
    supervise(cluster, lambda: web.request(accepted.headers["Location"]).json.get("state") == "done")
    wait_until(web.healthy)
    assert post_job(web).status == 202


def test_a_job_whose_tasks_were_not_sent_is_processed_after_the_next_start(cluster: Cluster) -> None:
    """A web process may be killed between its last write to the state and its first task."""
    cluster.end()  # so that the worker has not lost its connection to Redis before
    cluster.worker("two")
    killed = cluster.open()
    new = new_job(killed, 3)
    store = RedisJobStore(cluster.environment["REDIS_URL"], 3600)
    job = store.add(new)
    store.close()
    with cluster.service() as service:
        check_results(service, job, 3)


def test_a_worker_sends_missing_tasks_as_well(cluster: Cluster, redis: RedisServer) -> None:
    worker, service = cluster.worker("two"), cluster.open()
    job = service.submit(new_job(service, 3))  # nothing of this service has been started
    check_results(service, job, 3)
    assert worker.alive()


def test_a_deleted_job_is_not_processed(cluster: Cluster, service: JobService) -> None:
    worker = cluster.worker("two")
    frozen, before = worker.freeze_engines(), worker.photos()
    job = service.submit(new_job(service, 10))
    wait_until(lambda: service.find(job.id, "").counts.running == 2)
    service.delete(job)
    for engine in frozen:
        engine.resume()
    check_results(service, service.submit(new_job(service, 1)), 1)
    assert worker.photos() - before <= 3  # the two that were in work, and the last one


def test_a_worker_that_is_told_to_end_leaves_no_photo(cluster: Cluster, service: JobService) -> None:
    worker = cluster.worker("two")
    job = service.submit(new_job(service, 10))
    wait_until(lambda: service.find(job.id, "").counts.running > 0)
    assert worker.terminate() == 0
    counts = service.find(job.id, "").counts
    assert (counts.running, counts.failed) == (0, 0)
    cluster.worker("two")
    check_results(service, job, 10)


def test_a_worker_to_which_celery_gives_no_tasks_ends(cluster: Cluster, service: JobService) -> None:
    cluster.end()
    stalled = attentive_worker(cluster, "stalled")
    try:
        check_results(service, service.submit(new_job(service, 1)), 1)
        celery(cluster, "control", "cancel_consumer", "photos")
        job = service.submit(new_job(service, 3))
        assert stalled.process is not None and stalled.process.wait(120) == 1
    finally:
        stalled.kill()
    assert " jobs.worker_stalled " in stalled.text()
    cluster.worker("two")
    check_results(service, job, 3)


def test_a_worker_whose_threads_are_all_busy_does_not_end(cluster: Cluster, service: JobService) -> None:
    cluster.end()
    busy = attentive_worker(cluster, "busy", "--concurrency", "1")
    try:
        engines = busy.freeze_engines()
        job = service.submit(new_job(service, 3))
        time.sleep(3 * STALL_SECONDS)
        assert busy.alive(), busy.text()
        for engine in engines:
            engine.resume()
        check_results(service, job, 3)
    finally:
        busy.kill()


def attentive_worker(cluster: Cluster, name: str, *options: str) -> Worker:
    """Return a running worker that finds a stall after STALL_SECONDS."""
    log = cluster.folder / f"{name}.log"
    return Worker(name, log, cluster.environment, "tests.support.attentive_worker", options).start()


def celery(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command `celery`."""
    return subprocess.run(
        [celery_program(), "-A", "app.jobs.celery_app", *arguments],
        env=cluster.environment | {"PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_celery_shows_what_a_worker_does(cluster: Cluster) -> None:
    cluster.worker("two")
    name = f"two@{socket.gethostname()}"
    done = celery(cluster, "inspect", "--timeout", "120", "--destination", name, "ping")  # the default is a second
    assert "pong" in done.stdout, done.stdout + done.stderr


def test_every_key_in_redis_has_a_prefix_of_ours(cluster: Cluster, redis: RedisServer) -> None:
    cluster.worker("two")
    keys = re.findall(r"\$\d+\r\n(\S+)", redis.command("KEYS *").decode())
    assert len(keys) > 5
    assert [key for key in keys if not key.startswith((PREFIX, KEY_PREFIX))] == []


def test_files_may_be_in_a_store_that_speaks_s3(redis: RedisServer, tmp_path: Path) -> None:
    s3 = S3Server(free_port(), tmp_path).start()
    own = environment(redis, f"s3://{s3.make_bucket('photos')}/jobs") | s3.environment
    cluster = Cluster(tmp_path, own | {"REDIS_URL": redis.url.replace("/0", "/1")})
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in s3.environment.items():
                patch.setenv(name, value)
            cluster.worker("with-s3")
            with cluster.service() as service:
                job = service.submit(new_job(service, 3))
                check_results(service, job, 3)
                service.delete(job)
                assert service.files.job_ids(float("inf")) == []
    finally:
        cluster.end()
        s3.kill()


@pytest.mark.parametrize(
    ("settings", "options", "named"),
    [
        ({"JOBS_BACKEND": "local"}, [], "JOBS_BACKEND"),
        ({"JOBS_STORAGE": "nowhere"}, [], "JOBS_STORAGE"),
        ({}, ["--pool", "solo"], "--pool"),
    ],
    ids=["backend", "storage", "pool"],
)
def test_a_worker_that_cannot_work_says_why(
    settings: dict[str, str], options: list[str], named: str, cluster: Cluster
) -> None:
    done = subprocess.run(
        [celery_program(), "-A", "app.jobs.celery_app", "worker", *options],
        env=cluster.environment | {"PATH": "/usr/bin"} | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
