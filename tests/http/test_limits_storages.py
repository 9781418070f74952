"""Rate limits: counts in memory and in Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from flask.testing import FlaskClient
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage

from app import redis_link
from app.errors import EngineCrashed
from app.http import limit_storage, limits
from app.redis_link import CircuitOpen
from tests.support.doubles import FakePool, failing
from tests.support.rate_limits import ask, fail_after, left, statuses
from tests.support.waiting import wait_until

MakeClient = Callable[..., FlaskClient]


@pytest.mark.parametrize(("limit", "workers", "part"), [(10, 1, 10), (10, 4, 2), (3, 4, 1), (1, 64, 1)])
def test_each_worker_has_its_share_of_a_limit(limit: int, workers: int, part: int, make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=limit, web_concurrency=workers)
    assert statuses(client, part + 1) == [200] * part + [429]


def test_headers_show_the_share_of_the_worker(make_client: MakeClient) -> None:
    assert left(ask(make_client(rate_limit_remove_bg_per_hour=10, web_concurrency=2))) == ("5", "4")


def test_health_checks_no_storage_for_limits_in_memory(fast_client: FlaskClient) -> None:
    report = fast_client.get("/health").json
    assert report is not None and report["checks"]["redis"] is None


@pytest.fixture
def make_shared(make_client: MakeClient) -> Iterator[MakeClient]:
    """Build a client of an application that counts in Redis."""
    yield lambda **settings: make_client(rate_limit_storage="redis", redis_url="redis://redis.invalid/0", **settings)
    limits.stop()


def test_no_request_waits_for_a_dns_lookup(stalled_names: list[str], make_shared: MakeClient) -> None:
    assert statuses(make_shared(rate_limit_remove_bg_per_hour=2)) == [200, 200, 429]
    assert limits.storage_up() is False
    assert len(stalled_names) <= 2  # the first request and the probe


def test_building_the_application_does_not_connect(stalled_names: list[str], make_shared: MakeClient) -> None:
    make_shared()
    assert "redis.invalid" not in stalled_names


def test_without_redis_each_worker_has_its_share(
    stalled_names: list[str], make_shared: MakeClient, fake_pool: FakePool
) -> None:
    client = make_shared(rate_limit_remove_bg_per_hour=5, web_concurrency=2)
    failing(fake_pool, EngineCrashed())
    assert {left(ask(client)) for _ in range(4)} == {("2", "2")}
    fake_pool.failure = None
    answers = [ask(client) for _ in range(3)]
    assert [(answer.status_code, left(answer)) for answer in answers] == [
        (200, ("2", "1")),
        (200, ("2", "0")),
        (429, ("2", "0")),
    ]
    report = client.get("/health").json
    assert report is not None and report["checks"]["redis"] is False


class FakeRedis:
    """Redis that counts, until `gone` is set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.gone, self._counts = False, MemoryStorage()
        patch.setattr(limit_storage, "MAX_WAIT", 60.0)  # its commands run in threads, which may have to wait
        for name in ("incr", "get", "get_expiry"):
            patch.setattr(RedisStorage, name, self._answer(getattr(self._counts, name)))

    def _answer(self, count: Callable[..., Any]) -> Callable[..., Any]:
        def answer(_: object, *args: Any, **options: Any) -> Any:
            if self.gone:
                raise StorageError(OSError("gone"))
            return count(*args, **options)

        return answer


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    return FakeRedis(monkeypatch)


def test_workers_share_the_whole_limit_in_redis(redis: FakeRedis, make_shared: MakeClient, fake_pool: FakePool) -> None:
    workers = [make_shared(rate_limit_remove_bg_per_hour=3, web_concurrency=2) for _ in range(2)]
    failing(fake_pool, EngineCrashed())
    assert left(ask(workers[1])) == ("3", "3")
    fake_pool.failure = None
    assert [left(ask(workers[number % 2]))[1] for number in range(4)] == ["2", "1", "0", "0"]
    wait_until(limits.storage_up)


def test_a_count_is_not_given_back_after_redis_fails(
    redis: FakeRedis, make_shared: MakeClient, fake_pool: FakePool
) -> None:
    client = make_shared(rate_limit_remove_bg_per_hour=3)
    wait_until(limits.storage_up)  # a later first answer of the probe would end the counts in memory
    with pytest.MonkeyPatch.context() as patch:
        fail_after(fake_pool, patch, lambda: setattr(redis, "gone", True))
        answer = ask(client)
    assert (answer.status_code, left(answer)) == (500, ("3", "2"))
    assert statuses(client, 4) == [200] * 3 + [429]


def test_all_commands_of_a_request_share_one_maximum_wait(
    redis: FakeRedis, make_shared: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def call(_: object, command: Callable[[], Any], max_wait: float) -> Any:
        waits.append(max_wait)
        return command()

    monkeypatch.setattr(limit_storage, "MAX_WAIT", redis_link.MAX_WAIT)
    monkeypatch.setattr("app.redis_link.Circuit.call", call)
    ask(make_shared(rate_limit_remove_bg_per_hour=3))
    assert waits[0] == 0.5 and waits == sorted(set(waits), reverse=True)


def test_two_requests_that_open_the_circuit_are_both_counted_in_memory(
    redis: FakeRedis, make_shared: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_shared(rate_limit_remove_bg_per_hour=3)
    assert left(ask(client)) == ("3", "2")
    wait_until(limits.storage_up)  # a first answer of the probe between the two would end the counts in memory
    both = threading.Barrier(2)

    def call(*_: object) -> NoReturn:
        both.wait()
        raise CircuitOpen

    monkeypatch.setattr("app.redis_link.Circuit.call", call)
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(ask, client.application.test_client()) for _ in range(2)]
        assert [each.result().status_code for each in done] == [200, 200]
