"""Results in memory: limit of bytes, time to live, order of eviction."""

from __future__ import annotations

import threading

from app.cache.stores import ENTRY_BYTES, MemoryStore
from tests.support.clock import Clock
from tests.support.removals import result

SIZE = 10_000
ENTRY = SIZE + ENTRY_BYTES


def kept(store: MemoryStore, *keys: str) -> str:
    return "".join(key for key in keys if store.get(key) is not None)


def test_a_result_is_found_under_its_key() -> None:
    store = MemoryStore(ENTRY, 60)
    image = result(SIZE)
    store.put("a", image)
    assert store.get("a") is image
    assert store.get("b") is None


def test_a_result_expires(clock: Clock) -> None:
    store = MemoryStore(2 * ENTRY, 60, clock)
    store.put("a", result(SIZE))
    clock.now += 59.9
    assert kept(store, "a") == "a"
    clock.now += 0.1
    assert kept(store, "a") == ""


def test_use_does_not_extend_the_time_to_live(clock: Clock) -> None:
    store = MemoryStore(2 * ENTRY, 60, clock)
    store.put("a", result(SIZE))
    for _ in range(7):
        clock.now += 10
        found = kept(store, "a")
    assert found == ""


def test_the_least_recently_used_result_is_evicted(clock: Clock) -> None:
    store = MemoryStore(3 * ENTRY, 60, clock)
    for key in "abc":
        store.put(key, result(SIZE))
    store.get("a")
    store.put("d", result(SIZE))
    assert kept(store, *"abcd") == "acd"


def test_the_limit_is_of_bytes_not_of_entries(clock: Clock) -> None:
    store = MemoryStore(4 * ENTRY, 60, clock)
    for key in "abcd":
        store.put(key, result(SIZE))
    store.put("e", result(2 * SIZE + ENTRY_BYTES))
    assert kept(store, *"abcde") == "cde"


def test_the_limit_is_exact(clock: Clock) -> None:
    store = MemoryStore(2 * ENTRY - 1, 60, clock)
    store.put("a", result(SIZE))
    store.put("b", result(SIZE))
    assert kept(store, *"ab") == "b"


def test_a_result_larger_than_the_store_is_not_kept_and_evicts_nothing() -> None:
    store = MemoryStore(ENTRY, 60)
    store.put("a", result(SIZE))
    store.put("b", result(SIZE + 1))
    assert kept(store, *"ab") == "a"


def test_a_replaced_result_counts_once(clock: Clock) -> None:
    store = MemoryStore(2 * ENTRY, 60, clock)
    for _ in range(5):
        store.put("a", result(SIZE))
    store.put("b", result(SIZE))
    assert kept(store, *"ab") == "ab"


def test_the_store_is_thread_safe() -> None:
    store, failures = MemoryStore(20 * ENTRY, 60), list[BaseException]()

    def use(number: int) -> None:
        try:
            for step in range(2000):
                store.put(str((step * number) % 50), result(SIZE))
                store.get(str(step % 50))
        except Exception as error:  # noqa: BLE001  # reported by the test itself
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(kept(store, *map(str, range(50)))) > 0
