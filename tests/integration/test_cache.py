"""The result cache of a real service: in memory, and in a real shared Redis, with its failures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from app.cache import redis_store
from app.cache.redis_store import PREFIX, RedisStore
from app.cache.stores import ENTRY_BYTES
from app.engine.container import MEGABYTE
from app.redis_link import CLIENT_OPTIONS, Circuit, CircuitOpen
from tests.support.photos import encoded, jpeg, photo
from tests.support.redis_circuits import undisturbed
from tests.support.removals import result
from tests.support.servers import RedisServer
from tests.support.service import Answer, Post, Service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL = "/remove-background"
Start = Callable[..., Service]
# Upper limit of a request's wait for Redis (app.redis_link.MAX_WAIT), with a large margin for a busy machine.
PROMPT_SECONDS = 30.0

_widths = count(200)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store in this process wait for Redis as long as a busy machine needs."""
    monkeypatch.setattr(Circuit.call, "__defaults__", (PROMPT_SECONDS,))
    for name in ("socket_timeout", "socket_connect_timeout"):
        monkeypatch.setitem(CLIENT_OPTIONS, name, PROMPT_SECONDS)


@pytest.fixture
def store(patient: None, redis: RedisServer) -> Iterator[RedisStore]:
    """A store of 1 MB in an empty Redis."""
    redis.command("FLUSHALL")
    store = RedisStore(redis.url, MEGABYTE, ttl=60)
    yield store
    store.stop()


def new_photo() -> bytes:
    """Return a photo that no test has sent before."""
    return encoded(photo("coffee").resize((next(_widths), 150)), "JPEG")


def ask(service: Service, data: bytes, query: str = "") -> Answer:
    return service.request(URL + query, data, timeout=PROMPT_SECONDS)


def caches(service: Service, data: bytes, times: int) -> list[str]:
    return [ask(service, data).headers["X-Cache"] for _ in range(times)]


def redis_check(service: Service) -> tuple[object, object]:
    report = service.request("/health").json
    return report["checks"]["redis"], report["status"]


# The store alone.


def test_a_result_is_read_as_stored(store: RedisStore) -> None:
    picture = result(300_000)
    store.put("a", picture)
    assert store.get("a") == picture
    assert store.get("b") is None
    assert store.up()


def bytes_kept(redis: RedisServer, keys: int) -> int:
    """Return the bytes of all results in Redis, with the overhead of each."""
    sizes = [int(redis.command(f"STRLEN {PREFIX}{key}")[1:]) for key in range(keys)]
    return sum(size + ENTRY_BYTES for size in sizes if size)


def test_the_bound_holds_and_the_least_recently_used_are_evicted(store: RedisStore, redis: RedisServer) -> None:
    for key in range(30):
        store.put(str(key), result(100_000))
        assert store.get("0") is not None  # used repeatedly, so it stays
        assert bytes_kept(redis, 30) <= MEGABYTE
    assert [key for key in range(30) if store.get(str(key))] == [0, *range(21, 30)]


def test_the_bound_holds_for_a_result_stored_again(store: RedisStore) -> None:
    for size in (100_000, 500_000) * 10:
        store.put("a", result(size))
    store.put("b", result(400_000))
    assert store.get("a") is not None and store.get("b") is not None


def test_the_bound_includes_what_redis_itself_needs(store: RedisStore, redis: RedisServer) -> None:
    def used() -> int:
        lines = redis.command("INFO memory").decode().splitlines()
        return next(int(line.partition(":")[2]) for line in lines if line.startswith("used_memory_dataset:"))

    before = used()
    for key in range(2000):
        store.put(f"{key:064x}", result(10))
    assert used() - before < 1.1 * MEGABYTE


def test_a_result_larger_than_the_cache_is_not_stored(store: RedisStore) -> None:
    store.put("a", result(1000))
    store.put("b", result(MEGABYTE))
    assert store.get("a") is not None and store.get("b") is None


def test_a_result_expires(patient: None, redis: RedisServer) -> None:
    store, lasting = (RedisStore(redis.url, MEGABYTE, ttl) for ttl in (1, 60))
    store.put("a", result())
    wait_until(lambda: store.get("a") is None)
    lasting.put("b", result())
    assert lasting.get("b") is not None
    for each in (store, lasting):
        each.stop()


@pytest.mark.parametrize(
    "damage",
    [
        'SET {key} ""',
        "SET {key} x",
        "SET {key} nonsense-that-is-long-enough",
        "SETRANGE {key} 500 x",
        'SET {key} "\\x00\\x00\\x00\\x00"',
        'SET {key} "\\xd2\\x02\\xef\\x8dno json\\n"',
        'SET {key} "\\xd7\\x18\\xf7\\xbf{{}}\\n"',
    ],
)
def test_an_unreadable_value_is_a_miss(damage: str, store: RedisStore, redis: RedisServer) -> None:
    store.put("a", result(1000))
    assert redis.command(damage.format(key=PREFIX + "a"))[:1] in b"+:"
    assert store.get("a") is None
    store.put("a", result(1000))
    assert store.get("a") is not None


def test_a_key_of_another_type_is_a_miss(store: RedisStore, redis: RedisServer) -> None:
    redis.command(f"LPUSH {PREFIX}a 1")
    with pytest.raises(CircuitOpen):
        store.get("a")
    wait_until(lambda: store._circuit._up is True)
    assert store.get("b") is None


@pytest.mark.parametrize("lost", [[redis_store.SIZES], [redis_store.USES], [redis_store.SIZES, redis_store.USES]])
def test_the_cache_works_without_its_index(lost: list[str], store: RedisStore, redis: RedisServer) -> None:
    for key in range(8):
        store.put(str(key), result(100_000))
    redis.command("DEL " + " ".join(lost))
    assert all(store.get(str(key)) for key in range(8))
    for key in range(8, 40):
        store.put(str(key), result(100_000))
    assert store.get("39") is not None and store.get("35") is not None


# The service.


@pytest.fixture(scope="module")
def in_memory(start: Start) -> Service:
    return start(ENGINE_PROCESSES=1, ENGINE_FAULTS=1, CACHE_URL="memory://")


@pytest.fixture(scope="module")
def two_workers(start: Start, redis: RedisServer) -> Service:
    service = start(WEB_CONCURRENCY=2, ENGINE_PROCESSES=1, CACHE_URL=redis.url)
    wait_until(lambda: redis_check(service) == (True, "healthy"))
    return service


@pytest.fixture(scope="module")
def other(start: Start, redis: RedisServer) -> Service:
    """Another instance over the same Redis."""
    return start(ENGINE_PROCESSES=1, CACHE_URL=redis.url)


def test_without_a_cache_answers_do_not_mention_it(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1)
    for _ in range(2):
        answer = ask(service, jpeg("coffee"))
        assert answer.status == 200 and "X-Cache" not in answer.headers


def test_a_hit_is_the_same_answer_without_an_engine(in_memory: Service) -> None:
    data = new_photo()
    first, second = ask(in_memory, data, "?format=WEBP"), ask(in_memory, data, "?format=WEBP&save=false")
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert second.body == first.body
    same = {"Content-Type", "X-Width", "X-Height", "X-Confidence", "X-Foreground-Top", "X-Original-Size"}
    assert {name: first.headers[name] for name in same} == {name: second.headers[name] for name in same}
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert second.headers["Server-Timing"].startswith("cache;dur=")
    assert "infer" in first.headers["Server-Timing"] and "infer" not in second.headers["Server-Timing"]
    assert ask(in_memory, data, "?format=WEBP&quality=50").headers["X-Cache"] == "miss"


def test_a_hit_works_while_the_engine_is_busy(in_memory: Service) -> None:
    data = new_photo()
    ask(in_memory, data)
    before, (engine,) = in_memory.received(), in_memory.engines()
    engine.suspend()
    waiting = Post(in_memory, URL, new_photo())
    wait_until(lambda: in_memory.received() > before)
    assert ask(in_memory, data).headers["X-Cache"] == "hit"
    assert waiting.is_alive()
    engine.resume()
    assert waiting.result().status == 200


def test_eight_simultaneous_identical_photos_are_processed_once(in_memory: Service) -> None:
    data = new_photo()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(in_memory, data), range(8)))
    assert Counter(answer.headers["X-Cache"] for answer in answers) == {"hit": 7, "miss": 1}
    assert len({answer.body for answer in answers}) == 1


def test_a_fallback_to_the_original_is_not_cached(in_memory: Service) -> None:
    data = new_photo()
    answer = in_memory.request(
        URL + "?on_error=original", data, headers={"X-Request-ID": "fault-segv"}, timeout=PROMPT_SECONDS
    )
    assert answer.headers["X-Fallback"] == "original" and "X-Cache" not in answer.headers
    wait_until(in_memory.healthy)
    assert caches(in_memory, data, 2) == ["miss", "hit"]


def test_json_answers_report_hits(in_memory: Service) -> None:
    data = new_photo()
    ask(in_memory, data)
    answer = in_memory.request("/remove-background-base64", data)
    assert answer.headers["X-Cache"] == "hit" and answer.json["success"]


def test_a_broken_image_is_not_a_hit(in_memory: Service) -> None:
    broken = jpeg("coffee")[:20_000]
    answers = [ask(in_memory, broken) for _ in range(2)]
    assert [answer.status for answer in answers] == [422, 422]
    assert not any("X-Cache" in answer.headers for answer in answers)


def test_look_ups_are_counted(in_memory: Service) -> None:
    data = new_photo()

    def counted(outcome: str) -> float:
        lines = in_memory.request("/metrics").body.decode().splitlines()
        name = f'bg_remover_cache_requests_total{{result="{outcome}"}} '
        return float(next(line for line in lines if line.startswith(name)).removeprefix(name))

    before = {outcome: counted(outcome) for outcome in ("hit", "miss", "error")}
    caches(in_memory, data, 3)
    assert {outcome: counted(outcome) - number for outcome, number in before.items()} == {
        "hit": 2,
        "miss": 1,
        "error": 0,
    }


def test_workers_and_instances_share_results(two_workers: Service, other: Service) -> None:
    def look_up() -> tuple[list[str], list[str]]:
        data = new_photo()
        return caches(two_workers, data, 6), caches(other, data, 1)

    for _ in range(5):
        assert undisturbed(look_up, two_workers, other) == (["miss", *["hit"] * 5], ["hit"])


@pytest.mark.parametrize("stop", [RedisServer.kill, RedisServer.freeze])
def test_requests_are_answered_without_redis_and_results_are_found_afterwards(
    stop: Callable[[RedisServer], None], other: Service, redis: RedisServer
) -> None:
    data = b""

    def look_up() -> list[str]:
        nonlocal data
        data = new_photo()
        return caches(other, data, 2)

    assert undisturbed(look_up, other) == ["miss", "hit"]
    stop(redis)
    try:
        started = time.monotonic()
        assert caches(other, data, 10) == ["miss"] * 10
        assert time.monotonic() - started < 10 * PROMPT_SECONDS
        wait_until(lambda: redis_check(other) == (False, "degraded"))
    finally:
        redis.thaw() if stop is RedisServer.freeze else redis.start()
    wait_until(lambda: redis_check(other) == (True, "healthy"))
    assert undisturbed(lambda: caches(other, data, 3)[1:], other) == ["hit", "hit"]


def test_a_full_redis_counts_as_unavailable(other: Service, redis: RedisServer) -> None:
    redis.command("CONFIG SET maxmemory 1")
    try:
        wait_until(lambda: redis_check(other) == (False, "degraded"))
        assert caches(other, new_photo(), 2) == ["miss", "miss"]
    finally:
        redis.command("CONFIG SET maxmemory 0")
    wait_until(lambda: redis_check(other) == (True, "healthy"))
