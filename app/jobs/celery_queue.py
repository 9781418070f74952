"""Celery's configuration, the same for web processes that send tasks and for workers.

A task has no arguments: it stands for one photo, and the worker takes the one whose turn it is from the state in Redis.
So a task that is lost or delivered twice does no harm, and no job waits for the end of a larger one.
"""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, urlsplit

from celery import Celery

from app.jobs.redis_store import LOST_SECONDS
from app.settings import Settings
from app.urls import plain_redis_url

__all__ = ["KEY_PREFIX", "QUEUE", "TASK", "broker_url", "build_celery", "visibility_seconds"]

TASK = "background-remover.photo"
QUEUE = "photos"
# Of all keys that Celery makes; the list of waiting tasks is KEY_PREFIX + QUEUE.
KEY_PREFIX = "background-remover:celery:"
# Seconds between two looks for tasks of lost workers, and after which a look by a lost worker prevents no others.
RESTORE_SECONDS, RESTORE_LOCK_SECONDS = 5, 30
# Seconds for an answer of Redis, and between two checks of an idle connection.
SOCKET_SECONDS, HEALTH_SECONDS = 5.0, 10


def visibility_seconds(settings: Settings) -> float:
    """Return after how many seconds the broker delivers a task again that was not acknowledged.

    Fetching, the wait for an engine, and processing may each take REQUEST_TIMEOUT. A second task does no harm: the
    worker of a photo that is still in work reports so, and the task takes another photo or none.
    """
    return 3 * settings.request_timeout + LOST_SECONDS


def broker_url(redis_url: str) -> str:
    """Return REDIS_URL as Celery writes it."""
    url = plain_redis_url(redis_url)
    if not url.startswith("unix://"):
        return url
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{user}{at}{parts.path}?virtual_host={number}"


def build_celery(settings: Settings) -> Celery:
    """Return the application for web processes and workers; connects to nothing."""
    celery = Celery("background-remover", set_as_current=False)
    url = broker_url(settings.redis_url.get_secret_value())
    celery.conf.update(
        broker_url=url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": KEY_PREFIX,
            "visibility_timeout": visibility_seconds(settings),
            "unacked_restore_interval": RESTORE_SECONDS,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": RESTORE_LOCK_SECONDS,
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_SECONDS,
        },
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_pool="threads",
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        timezone="UTC",
    )
    if url.startswith("rediss://") and "ssl_cert_reqs" not in url:
        celery.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return celery
