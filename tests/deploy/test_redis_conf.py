"""redis.conf in a real Redis."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.deploy_files import redis_configuration
from tests.support.servers import RedisServer, binary
from tests.support.service import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    options = ["--port", str(port), "--dir", str(folder)]
    process = subprocess.Popen(
        [binary("redis-server"), ROOT / "deploy/redis.conf", *options], stdout=subprocess.DEVNULL
    )
    wait_until(RedisServer(port, folder).answers)
    with Redis(port=port, decode_responses=True) as client:
        yield client
    process.terminate()
    process.wait(60)


def test_files_of_the_operator_win(tmp_path: Path) -> None:
    (tmp_path / "mine.conf").write_text("maxmemory 128mb\n")
    text = (ROOT / "deploy/redis.conf").read_text(encoding="utf-8")
    (tmp_path / "redis").write_text(text.replace("/etc/redis/background-remover.d", str(tmp_path)))
    assert redis_configuration("redis-server", str(tmp_path / "redis"), "--dir", str(tmp_path))["maxmemory"] == str(
        128 << 20
    )


def test_nothing_is_stored_on_disk_and_memory_is_bounded(redis: Redis) -> None:
    told = redis.config_get("maxmemory", "maxmemory-policy", "save", "appendonly", "protected-mode")
    assert told == {
        "maxmemory": str(64 << 20),
        "maxmemory-policy": "volatile-ttl",
        "save": "",
        "appendonly": "no",
        "protected-mode": "yes",
    }


def test_counts_with_the_shortest_time_to_live_are_evicted_first(redis: Redis) -> None:
    redis.set("for ever", "1")
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + (1 << 20))
    with redis.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.set(f"LIMITS:{number}", "1", ex=60 + number // 10)
        assert all(pipeline.execute())  # not one count was refused
    assert redis.info("stats")["evicted_keys"] > 1000
    assert redis.get("for ever") == "1"
    soonest, latest = (redis.exists(*(f"LIMITS:{number}" for number in some))
                       for some in (range(500), range(19_500, 20_000)))  # fmt: skip
    assert soonest < 250 < 450 < latest  # Redis samples a few keys for each eviction
