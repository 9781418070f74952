"""Counts of rate limits in Redis: their keys, and the reset of a client's counts. No Flask."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from limits.storage import RedisStorage

from app.redis_link import CLIENT_OPTIONS, PROBE_LIFE

__all__ = ["PREFIX", "forget", "open_storage", "probe_of", "storage_uri"]

# A count's key in Redis is PREFIX:LIMITER/client/endpoint/limit; the second part is Flask-Limiter's.
PREFIX = "background-remover"


def storage_uri(url: str) -> str:
    """Return a REDIS_URL in the form of the storage, which has another scheme for Unix sockets."""
    return re.sub("^unix://", "redis+unix://", url)


def open_storage(url: str) -> RedisStorage:
    """Return the storage of a REDIS_URL; connects with the first command."""
    return RedisStorage(storage_uri(url), key_prefix=PREFIX, **CLIENT_OPTIONS)


def probe_of(storage: RedisStorage) -> Callable[[], object]:
    """Return a function that writes as counting does: a Redis that is full, or a replica, would answer a ping."""
    return partial(storage.incr, "probe", PROBE_LIFE)


def forget(url: str, client: str) -> int:
    """Delete the counts of a client in Redis and return their number; raise RedisError."""
    # Its declared type lacks most methods.
    redis: Any = open_storage(url).get_connection()
    keys = list(redis.scan_iter(match=f"{PREFIX}:LIMITER/{client}/*", count=1000))
    return int(redis.delete(*keys)) if keys else 0
