"""Check of JOBS_BACKEND=celery: storage, Redis and workers."""

from __future__ import annotations

import time

from redis import Redis
from redis.exceptions import RedisError

from app.cli.doctor.findings import Finding, Level
from app.jobs.errors import JobsUnavailable
from app.settings import Settings
from app.urls import plain_redis_url

__all__ = ["check_workers"]


def check_workers(settings: Settings) -> Finding:
    """Write to the storage and to Redis, and count the workers; app.startup has checked that the packages are there."""
    from app.jobs.celery_backend import open_files
    from app.jobs.redis_store import RedisJobStore

    storage, url = settings.jobs_storage or "", settings.redis_url.get_secret_value()
    try:
        open_files(storage).check()
    except OSError as error:
        return Finding(Level.FAIL, "jobs", f"jobs can't write to {storage}: {error}", "Correct JOBS_STORAGE.")
    store = RedisJobStore(url, settings.jobs_ttl)
    try:
        workers = store.queue_state(time.time()).workers
    except JobsUnavailable:
        return Finding(Level.FAIL, "jobs", "jobs can't use REDIS_URL", "Start Redis, or correct REDIS_URL.")
    finally:
        store.close()
    if problem := _volatility(url):
        return Finding(Level.WARN, "jobs", problem, "deploy/redis-jobs.conf is a configuration that keeps jobs.")
    if not workers:
        return Finding(Level.WARN, "jobs", "no worker is alive", "Start one: celery -A app.jobs.celery_app worker")
    return Finding(Level.OK, "jobs", f"{storage}, {workers} workers")


def _volatility(url: str) -> str:
    """Return why this Redis may lose jobs, empty for no known reason."""
    client = Redis.from_url(plain_redis_url(url), decode_responses=True)
    try:
        found = client.config_get("appendonly", "maxmemory-policy")
    except RedisError:  # a managed Redis may hide it
        return ""
    finally:
        client.close()
    if found.get("appendonly") == "no":
        return "Redis keeps jobs in memory only (appendonly no)"
    policy = found.get("maxmemory-policy", "noeviction")
    return "" if policy == "noeviction" else f"Redis may evict jobs (maxmemory-policy {policy})"
