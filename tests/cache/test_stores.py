"""What is kept in memory: its bytes, its age, its order; and where CACHE_URL leads."""

from __future__ import annotations

import threading

import pytest

from app import capacity
from app.cache import results
from app.cache.results import open_cache
from app.cache.stores import ENTRY_BYTES, MemoryStore
from app.capacity import plan_capacity
from app.engine.container import MEGABYTE
from app.settings import Settings
from tests.support.doubles import FakePool
from tests.support.removals import result

SIZE = 10_000
ROOM = SIZE + ENTRY_BYTES


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept(store: MemoryStore, *keys: str) -> str:
    return "".join(key for key in keys if store.get(key) is not None)


def test_what_is_put_is_got() -> None:
    store = MemoryStore(ROOM, 60)
    picture = result(SIZE)
    store.put("a", picture)
    assert store.get("a") is picture
    assert store.get("b") is None


def test_it_is_gone_when_its_time_is_over(clock: Clock) -> None:
    store = MemoryStore(2 * ROOM, 60, clock)
    store.put("a", result(SIZE))
    clock.now += 59.9
    assert kept(store, "a") == "a"
    clock.now += 0.1
    assert kept(store, "a") == ""


def test_being_asked_for_does_not_prolong_it(clock: Clock) -> None:
    store = MemoryStore(2 * ROOM, 60, clock)
    store.put("a", result(SIZE))
    for _ in range(7):
        clock.now += 10
        found = kept(store, "a")
    assert found == ""


def test_the_one_not_asked_for_longest_makes_room(clock: Clock) -> None:
    store = MemoryStore(3 * ROOM, 60, clock)
    for key in "abc":
        store.put(key, result(SIZE))
    store.get("a")
    store.put("d", result(SIZE))
    assert kept(store, *"abcd") == "acd"


def test_bytes_count_not_entries(clock: Clock) -> None:
    store = MemoryStore(4 * ROOM, 60, clock)
    for key in "abcd":
        store.put(key, result(SIZE))
    store.put("e", result(2 * SIZE + ENTRY_BYTES))
    assert kept(store, *"abcde") == "cde"


def test_one_byte_too_many_is_too_many(clock: Clock) -> None:
    store = MemoryStore(2 * ROOM - 1, 60, clock)
    store.put("a", result(SIZE))
    store.put("b", result(SIZE))
    assert kept(store, *"ab") == "b"


def test_what_is_larger_than_everything_is_let_go_and_pushes_nothing_out() -> None:
    store = MemoryStore(ROOM, 60)
    store.put("a", result(SIZE))
    store.put("b", result(SIZE + 1))
    assert kept(store, *"ab") == "a"


def test_a_result_put_anew_counts_once(clock: Clock) -> None:
    store = MemoryStore(2 * ROOM, 60, clock)
    for _ in range(5):
        store.put("a", result(SIZE))
    store.put("b", result(SIZE))
    assert kept(store, *"ab") == "ab"


def test_threads_may_use_it_at_the_same_time() -> None:
    store, failures = MemoryStore(20 * ROOM, 60), list[BaseException]()

    def use(number: int) -> None:
        try:
            for turn in range(2000):
                store.put(str((turn * number) % 50), result(SIZE))
                store.get(str(turn % 50))
        except Exception as error:  # noqa: BLE001  # whatever it is, the test must see it
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(kept(store, *map(str, range(50)))) > 0


def test_by_default_nothing_is_kept() -> None:
    assert open_cache(Settings(), plan_capacity(Settings()), FakePool(), lambda lookup: None) is None


def test_memory_is_no_matter_of_redis() -> None:
    settings = Settings(cache_url="memory://")
    cache = open_cache(settings, plan_capacity(settings), FakePool(), lambda lookup: None)
    assert cache is not None
    assert cache.up() is None


@pytest.mark.parametrize(("memory_mb", "warns"), [(100_000, False), (600, True)])
def test_a_cache_that_does_not_fit_is_said(
    memory_mb: int, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (capacity, results):
        monkeypatch.setattr(module, "memory_limit", lambda: memory_mb * MEGABYTE)
    settings = Settings(cache_url="memory://", cache_max_mb=500)
    open_cache(settings, plan_capacity(settings), FakePool(), lambda lookup: None)
    assert ("cache.too_large cache_mb=500" in caplog.text) is warns
