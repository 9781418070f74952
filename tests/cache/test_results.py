"""The cache in front of a pool: hits, misses, one computation for concurrent requests, results that are not cached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from app import capacity
from app.cache import results
from app.cache.keys import ResultKeys
from app.cache.results import Lookup, ResultCache, open_cache
from app.cache.stores import MemoryStore
from app.capacity import plan_capacity
from app.engine.container import MEGABYTE
from app.engine.submission import ClientGone, Deadline, Priority
from app.errors import (
    CorruptImage,
    DeadlineExceeded,
    EngineCrashed,
    ModelUnavailable,
    OutOfMemory,
    QueueFull,
    ServiceError,
    ShuttingDown,
    UnknownForeground,
)
from app.redis_link import CircuitOpen
from app.removal import RemovalRequest, RemovalResult
from app.settings import Settings
from tests.support.configuration import ENGINE
from tests.support.doubles import FakePool, failing
from tests.support.removals import REQUEST, result
from tests.support.waiting import wait_until

MAX_BYTES = 1000


class SlowPool(FakePool):
    """Pool that finishes each request when the test sets the result or the error of its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[Future[None]] = []

    def submit(
        self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE
    ) -> RemovalResult:
        gate = Future[None]()
        self.gates.append(gate)
        gate.result(300)
        return super().submit(request, deadline, priority)


@dataclass(frozen=True)
class ManualDeadline(Deadline):
    """Deadline whose time left is set by the test."""

    left: Callable[[], float] = field(kw_only=True)

    @property
    def seconds_left(self) -> float:
        return self.left()


class Cache(ResultCache):
    """Cache in memory that records its look-ups."""

    def __init__(self, pool: FakePool, store: MemoryStore | None = None) -> None:
        self.lookups: list[Lookup] = []
        super().__init__(pool, store or MemoryStore(100_000, 60), ResultKeys(ENGINE), MAX_BYTES, self.lookups.append)
        self.following: set[int] = set()
        self.left = 300.0
        self.deadline = ManualDeadline(0.0, self._is_gone, left=lambda: self.left)

    def ask(self, request: RemovalRequest = REQUEST) -> RemovalResult:
        return self.submit(request, self.deadline)

    def _is_gone(self) -> bool:
        """Record the threads that wait for another one's result; the pool of these tests never calls this."""
        self.following.add(threading.get_ident())
        return False


@pytest.fixture
def slow() -> SlowPool:
    return SlowPool()


def test_the_second_request_is_a_hit_with_the_same_result(fake_pool: FakePool) -> None:
    cache = Cache(fake_pool)
    first, second = cache.ask(), cache.ask(replace(REQUEST, request_id="id-2"))
    assert (first.cache, second.cache, len(fake_pool.requests)) == ("miss", "hit", 1)
    assert replace(first, cache="", stages_ms={}) == replace(second, cache="", stages_ms={})
    assert cache.lookups == [Lookup.MISS, Lookup.HIT]


def test_a_hit_reports_no_stage_of_an_engine(fake_pool: FakePool) -> None:
    cache = Cache(fake_pool)
    assert set(cache.ask().stages_ms) == {"queue", "infer"}
    assert set(cache.ask().stages_ms) == {"cache"}


def test_other_options_are_a_miss(fake_pool: FakePool) -> None:
    cache = Cache(fake_pool)
    cache.ask()
    assert cache.ask(replace(REQUEST, options=replace(REQUEST.options, quality=50))).cache == "miss"


@pytest.mark.parametrize("error", [CorruptImage(), OutOfMemory(), EngineCrashed(), QueueFull(), ClientGone()])
def test_an_error_is_not_cached(error: Exception, fake_pool: FakePool) -> None:
    cache = Cache(failing(fake_pool, error))
    for _ in range(2):
        with pytest.raises(type(error)):
            cache.ask()
    fake_pool.failure = None
    assert (cache.ask().cache, len(fake_pool.requests)) == ("miss", 3)


@pytest.mark.parametrize(("size", "second"), [(MAX_BYTES, "hit"), (MAX_BYTES + 1, "miss")])
def test_a_very_large_result_is_not_cached(size: int, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = FakePool()
    monkeypatch.setattr(pool, "submit", lambda *_: result(size))
    cache = Cache(pool)
    assert (cache.ask().cache, cache.ask().cache) == ("miss", second)


def test_without_weights_the_pool_reports_the_error(fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.weights.find", lambda *_: None)
    cache = Cache(failing(fake_pool, ModelUnavailable()))
    with pytest.raises(ModelUnavailable):
        cache.ask()
    assert cache.lookups == []


class DeadStore(MemoryStore):
    def get(self, key: str) -> RemovalResult | None:
        raise CircuitOpen

    def put(self, key: str, result: RemovalResult) -> None:
        raise CircuitOpen


def test_while_the_store_is_down_every_request_is_processed(fake_pool: FakePool) -> None:
    cache = Cache(fake_pool, DeadStore(1, 1))
    assert [cache.ask().cache for _ in range(2)] == ["miss", "miss"]
    assert cache.lookups == [Lookup.ERROR, Lookup.ERROR]


def together(cache: Cache, pool: SlowPool, followers: int) -> list[Future[RemovalResult]]:
    """Submit the same request concurrently; the first of the returned futures is the leader's."""
    threads = ThreadPoolExecutor(followers + 1)
    leader = threads.submit(cache.ask)
    wait_until(lambda: pool.gates)
    others = [threads.submit(cache.ask) for _ in range(followers)]
    threads.shutdown(wait=False)
    wait_until(lambda: len(cache.following) == followers)
    return [leader, *others]


def test_eight_concurrent_requests_are_one_computation(slow: SlowPool) -> None:
    cache = Cache(slow)
    futures = together(cache, slow, followers=7)
    slow.gates[0].set_result(None)
    assert sorted(future.result(300).cache for future in futures) == ["hit"] * 7 + ["miss"]
    assert len(slow.requests) == 1
    assert sorted(cache.lookups) == [Lookup.HIT] * 7 + [Lookup.MISS]


def test_followers_do_not_need_the_store(slow: SlowPool) -> None:
    futures = together(Cache(slow, DeadStore(1, 1)), slow, followers=3)
    slow.gates[0].set_result(None)
    assert sorted(future.result(300).cache for future in futures) == ["hit"] * 3 + ["miss"]


@pytest.mark.parametrize("failure", [ClientGone(), EngineCrashed(), QueueFull(), ShuttingDown(), DeadlineExceeded()])
def test_a_follower_takes_over_when_the_leader_fails(failure: Exception, slow: SlowPool) -> None:
    leader, *followers = together(Cache(slow), slow, followers=3)
    slow.gates[0].set_exception(failure)
    with pytest.raises(type(failure)):
        leader.result(300)
    wait_until(lambda: len(slow.gates) == 2)
    slow.gates[1].set_result(None)
    assert sorted(future.result(300).cache for future in followers) == ["hit", "hit", "miss"]
    assert len(slow.gates) == 2


@pytest.mark.parametrize("failure", [CorruptImage(details="cut short"), OutOfMemory(), UnknownForeground()])
def test_every_follower_gets_an_error_about_the_image(failure: ServiceError, slow: SlowPool) -> None:
    futures = together(Cache(slow), slow, followers=3)
    slow.gates[0].set_exception(failure)
    errors = [future.exception(300) for future in futures]
    assert {(type(error), str(error)) for error in errors} == {(type(failure), str(failure))}
    assert {getattr(error, "details", None) for error in errors} == {failure.details}
    assert len({id(error) for error in errors}) == 4
    assert len(slow.gates) == 1


def test_an_unexpected_error_does_not_leave_followers_waiting(slow: SlowPool) -> None:
    leader, follower = together(Cache(slow), slow, followers=1)
    slow.gates[0].set_exception(ZeroDivisionError())
    assert isinstance(leader.exception(300), ZeroDivisionError)
    wait_until(lambda: len(slow.gates) == 2)
    slow.gates[1].set_result(None)
    assert follower.result(300).cache == "miss"


def test_a_follower_waits_until_its_own_deadline(slow: SlowPool) -> None:
    cache = Cache(slow)
    leader, late = together(cache, slow, followers=1)
    cache.left = 0.0
    assert isinstance(late.exception(300), DeadlineExceeded)
    slow.gates[0].set_result(None)
    assert leader.result(300).cache == "miss"


def test_a_follower_with_too_little_time_left_does_not_take_over_from_a_late_leader(slow: SlowPool) -> None:
    cache = Cache(slow)
    leader, follower = together(cache, slow, followers=1)
    cache.left = 1e-9  # less than the follower has waited
    slow.gates[0].set_exception(DeadlineExceeded())
    assert isinstance(follower.exception(300), DeadlineExceeded)
    assert isinstance(leader.exception(300), DeadlineExceeded)
    assert len(slow.gates) == 1


def test_a_follower_may_disconnect(slow: SlowPool) -> None:
    cache = Cache(slow)
    (leader,) = together(cache, slow, followers=0)
    gone = threading.Event()
    gone.set()
    with pytest.raises(ClientGone):
        cache.submit(REQUEST, Deadline(time.monotonic() + 300, gone.is_set))
    slow.gates[0].set_result(None)
    assert leader.result(300).cache == "miss"


def test_a_request_does_not_wait_while_a_result_is_being_stored(slow: SlowPool) -> None:
    class SlowStore(MemoryStore):
        finished = threading.Event()

        def put(self, key: str, result: RemovalResult) -> None:
            assert self.finished.wait(300)
            super().put(key, result)

    store = SlowStore(100_000, 60)
    cache = Cache(slow, store)
    (leader,) = together(cache, slow, followers=0)
    slow.gates[0].set_result(None)
    assert cache.ask().cache == "hit"
    store.finished.set()
    assert leader.result(300).cache == "miss"
    assert cache.ask().cache == "hit"
    assert len(slow.gates) == 1


def test_there_is_no_cache_by_default() -> None:
    assert open_cache(Settings(), plan_capacity(Settings()), FakePool(), lambda lookup: None) is None


def test_a_cache_in_memory_has_no_state_of_redis() -> None:
    settings = Settings(cache_url="memory://")
    cache = open_cache(settings, plan_capacity(settings), FakePool(), lambda lookup: None)
    assert cache is not None
    assert cache.up() is None


@pytest.mark.parametrize(("memory_mb", "warns"), [(100_000, False), (600, True)])
def test_a_cache_that_is_too_large_for_the_memory_is_logged(
    memory_mb: int, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (capacity, results):
        monkeypatch.setattr(module, "memory_limit", lambda: memory_mb * MEGABYTE)
    settings = Settings(cache_url="memory://", cache_max_mb=500)
    open_cache(settings, plan_capacity(settings), FakePool(), lambda lookup: None)
    assert ("cache.too_large cache_mb=500" in caplog.text) is warns


def test_a_result_made_under_load_is_not_cached(fake_pool: FakePool) -> None:
    cache = Cache(fake_pool)
    fake_pool.under_load = True
    assert [cache.ask().cache, cache.ask().cache] == ["miss", "miss"]
    fake_pool.under_load = False
    assert [cache.ask().cache, cache.ask().cache] == ["miss", "hit"]
    assert len(fake_pool.requests) == 3
