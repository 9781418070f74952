"""Results in a Redis that cannot be reached. With a real one: tests/integration/test_cache.py."""

from __future__ import annotations

import pytest

from app.cache.redis_store import RedisStore
from app.redis_link import CircuitOpen
from app.settings import Settings
from tests.support.configuration import NO_LIMITS
from tests.support.loaded_modules import modules_after
from tests.support.removals import result


def test_no_request_waits_for_a_dns_lookup(stalled_names: list[str]) -> None:
    store = RedisStore("redis://redis.invalid/0", 1 << 20, ttl=60)
    for _ in range(3):
        with pytest.raises(CircuitOpen):
            store.get("a")
        with pytest.raises(CircuitOpen):
            store.put("a", result())
    assert not store.up()
    assert len(stalled_names) <= 2  # the first request and the probe: the circuit is open after that
    store.stop()


def test_building_the_application_opens_no_connection(stalled_names: list[str]) -> None:
    from app import create_app

    create_app(Settings(**NO_LIMITS, cache_url="redis://redis.invalid/0"))
    assert stalled_names == []


def test_the_redis_client_is_imported_only_when_redis_is_used() -> None:
    build = "from app import create_app; from app.settings import Settings; create_app(Settings(cache_url={!r}))"
    assert "redis" not in modules_after(build.format("memory://"))
    assert "redis" in modules_after(build.format("redis://redis.invalid/0"))
