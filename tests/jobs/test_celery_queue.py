"""Celery's configuration, and its packages as an option."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.celery_backend import CeleryBackend
from app.jobs.celery_queue import KEY_PREFIX, QUEUE, broker_url, build_celery, visibility_seconds
from app.jobs.folder_files import FolderFiles
from app.jobs.redis_store import LOST_SECONDS, RedisJobStore
from app.settings import Settings
from tests.support.jobs import new_job
from tests.support.loaded_modules import modules_after
from tests.support.servers import RedisServer, binary
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("patient_jobs")

CELERY = {"jobs_backend": "celery", "jobs_storage": "s3://bucket/prefix"}


def settings(**changes: object) -> Settings:
    return Settings(**CELERY | changes)  # type: ignore[arg-type]


def listens(path: Path) -> bool:
    """Return whether a server accepts connections at a Unix socket; it exists a moment before."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[Path]:
    """A Redis that listens on a Unix socket only."""
    path = tmp_path / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([binary("redis-server"), *options], stdout=subprocess.DEVNULL)
    wait_until(lambda: listens(path))
    yield path
    process.kill()
    process.wait()


def sent(store: RedisJobStore, configuration: Settings) -> None:
    """Store a job of three photos, and wait until its tasks are sent."""
    backend = CeleryBackend(store, build_celery(configuration))
    backend.start()
    try:
        backend.submit(store.add(new_job(photos=3)))
        wait_until(lambda: store.missing_tasks(KEY_PREFIX + QUEUE) == 0)
    finally:
        backend.stop()


class NoFiles(FolderFiles):
    """A storage that cannot be written."""

    def check(self) -> None:
        raise OSError("no space left")


def test_a_storage_that_cannot_be_written_is_reported(redis: RedisServer, tmp_path: Path) -> None:
    store, celery = RedisJobStore(redis.url, 60), build_celery(settings(redis_url=redis.url))
    backend = CeleryBackend(store, celery, NoFiles(tmp_path))
    backend.start()
    wait_until(lambda: not backend.up())
    assert store.up()
    backend.stop()
    store.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:secret@10.0.0.5:6379/2", "redis://:secret@10.0.0.5:6379/2"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("redis+unix://:secret@/run/redis.sock?db=3", "redis+socket://:secret@/run/redis.sock?virtual_host=3"),
    ],
)
def test_the_broker_is_redis_url(url: str, expected: str) -> None:
    assert broker_url(url) == expected


def test_certificates_are_checked_over_tls() -> None:
    assert build_celery(settings(redis_url="rediss://host/0")).conf.broker_use_ssl == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED
    }
    own = build_celery(settings(redis_url="rediss://host/0?ssl_cert_reqs=none"))
    assert not own.conf.broker_use_ssl


def test_the_visibility_timeout_is_longer_than_a_photo_may_take() -> None:
    configuration = settings(request_timeout=100)
    assert visibility_seconds(configuration) == 300 + LOST_SECONDS
    options = build_celery(configuration).conf.broker_transport_options
    assert options["visibility_timeout"] == 300 + LOST_SECONDS


def test_tasks_are_acknowledged_late_and_not_prefetched() -> None:
    conf = build_celery(settings()).conf
    assert conf.task_acks_late and conf.task_reject_on_worker_lost
    assert (conf.worker_prefetch_multiplier, conf.worker_pool) == (1, "threads")


def test_one_task_is_sent_for_each_photo(redis: RedisServer) -> None:
    redis.command("FLUSHALL")
    store = RedisJobStore(redis.url, 60)
    sent(store, settings(redis_url=redis.url))
    assert redis.command(f"LLEN {KEY_PREFIX}{QUEUE}") == b":3\r\n"
    store.close()


def test_redis_may_be_on_a_unix_socket(unix_socket: Path) -> None:
    url = f"unix://{unix_socket}?db=1"
    store = RedisJobStore(url, 60)
    sent(store, settings(redis_url=url))
    store.close()


def test_celery_is_imported_only_when_it_is_used() -> None:
    build = "from app import create_app; from app.settings import Settings; create_app(Settings(**{!r}))"
    folder = CELERY | {"jobs_storage": "file:///folder"}
    packages = {"celery", "kombu", "fsspec", "botocore", "aiohttp"}
    assert packages & modules_after(build.format({})) == set()
    assert packages & modules_after(build.format(folder)) == {"celery", "kombu"}
