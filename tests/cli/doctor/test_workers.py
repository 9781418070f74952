"""Check of the workers of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.doctor.findings import Level
from app.cli.doctor.runtime import check_jobs
from app.jobs.redis_store import RedisJobStore
from app.settings import Settings
from tests.support.servers import RedisServer
from tests.support.service import closed_port


@pytest.fixture
def settings(redis: RedisServer, tmp_path: Path, patient_jobs: None) -> Settings:
    redis.command("FLUSHALL")
    redis.command("CONFIG SET appendonly yes")
    return Settings(jobs_backend="celery", jobs_storage=tmp_path.as_uri(), redis_url=redis.url)


def test_workers_that_are_alive(settings: Settings) -> None:
    store = RedisJobStore(settings.redis_url.get_secret_value(), 60)
    store.report("worker", [])
    store.close()
    finding = check_jobs(settings)
    assert finding.level is Level.OK and finding.found.endswith(", 1 workers")


def test_no_worker(settings: Settings) -> None:
    finding = check_jobs(settings)
    assert (finding.level, finding.found) == (Level.WARN, "no worker is alive")


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("appendonly no", "Redis keeps jobs in memory only (appendonly no)"),
        ("maxmemory-policy volatile-ttl", "Redis may evict jobs (maxmemory-policy volatile-ttl)"),
    ],
)
def test_a_redis_that_may_lose_jobs(option: str, found: str, settings: Settings, redis: RedisServer) -> None:
    redis.command(f"CONFIG SET {option}")
    finding = check_jobs(settings)
    redis.command("CONFIG SET maxmemory-policy noeviction")
    assert (finding.level, finding.found) == (Level.WARN, found)


def test_a_storage_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = (tmp_path / "file").as_uri()
    finding = check_jobs(settings.model_copy(update={"jobs_storage": storage}))
    assert finding.level is Level.FAIL and finding.found.startswith(f"jobs can't write to {storage}: ")


def test_no_redis(tmp_path: Path) -> None:
    with closed_port() as port:
        url = f"redis://:sesame@127.0.0.1:{port}/0"
        finding = check_jobs(Settings(jobs_backend="celery", jobs_storage=tmp_path.as_uri(), redis_url=url))
    assert finding.level is Level.FAIL and "REDIS_URL" in finding.advice and "sesame" not in str(finding)
