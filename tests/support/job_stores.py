"""Stores of jobs under test: how each is made, and how an item of it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.jobs.redis_store import RedisJobStore
from app.jobs.sqlite_store import SqliteStore
from app.jobs.store import JobStore
from tests.support.clock import Clock

__all__ = ["STORES", "TTL", "Place", "StoreKind"]

TTL = 100.0


@dataclass(frozen=True)
class Place:
    """Where a store keeps its state: a folder, or a Redis."""

    folder: Path
    redis_url: str = ""


@dataclass(frozen=True)
class StoreKind:
    """A kind of store: `make` returns one at a place, `begin` starts the next queued item of its only job."""

    name: str
    make: Callable[[Place, Clock], Any]
    begin: Callable[[Any], int] = field(repr=False)


def _begin_in_sqlite(store: SqliteStore) -> int:
    claimed = store.claim("a-process")
    assert claimed is not None
    return claimed[0].item.number


def _begin_in_redis(store: RedisJobStore) -> int:
    claim = store.claim()
    assert claim is not None
    return claim.task.item.number


STORES = [
    StoreKind("sqlite", lambda place, clock: SqliteStore(place.folder / "state.db", TTL, clock), _begin_in_sqlite),
    StoreKind("redis", lambda place, clock: RedisJobStore(place.redis_url, TTL, clock), _begin_in_redis),
]


def is_a_store(store: JobStore) -> JobStore:
    """Return a store; mypy checks that it is one."""
    return store


is_a_store(SqliteStore(Path("unused"), TTL))
is_a_store(RedisJobStore("redis://unused", TTL))
