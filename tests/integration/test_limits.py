"""Rate limits of a real service with a real Redis: shared by two workers, and without Redis."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from pydantic import SecretStr
from redis import Redis

from app.cli.doctor.runtime import check_redis
from app.redis_link import CLIENT_OPTIONS
from app.settings import Settings
from tests.support.configuration import ROOT
from tests.support.documentation import table_below
from tests.support.photos import encoded, jpeg, photo
from tests.support.redis_circuits import undisturbed
from tests.support.servers import RedisServer
from tests.support.service import Answer, Post, Service, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL, PREVIEW = "/remove-background", "/remove-background-preview"
Start = Callable[..., Service]
# Upper limit of a request's wait for Redis (app.redis_link.MAX_WAIT), with a large margin for a busy machine.
PROMPT_SECONDS = 30.0

_addresses = count(1)


def new_client() -> dict[str, str]:
    """Return the headers of a new client; the test plays the one trusted proxy."""
    number = next(_addresses)
    return {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250 + 1}"}


def invalid(service: Service, client: Mapping[str, str], path: str = URL) -> Answer:
    """Send a body that is not an image: fast, and it counts."""
    return service.request(path, b"no image", timeout=PROMPT_SECONDS, headers=dict(client))


def parallel(service: Service, client: Mapping[str, str], requests: int = 9, body: bytes = b"no image") -> list[int]:
    with ThreadPoolExecutor(requests) as threads:
        ask = lambda _: service.request(URL, body, headers=dict(client))  # noqa: E731
        return [answer.status for answer in threads.map(ask, range(requests))]


def redis_check(service: Service) -> object:
    return service.request("/health").json["checks"]["redis"]


def both_workers(service: Service, check: object, status: str) -> bool:
    """Return whether both workers report this: many answers in a row, because either may answer."""
    reports = [service.request("/health").json for _ in range(12)]
    return all((report["checks"]["redis"], report["status"]) == (check, status) for report in reports)


def left(answer: Answer) -> tuple[str, str]:
    return answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]


@pytest.fixture(scope="module")
def two_workers(start: Start, redis: RedisServer) -> Service:
    service = start(
        WEB_CONCURRENCY=2,
        ENGINE_PROCESSES=1,
        RATE_LIMIT_STORAGE="redis",
        REDIS_URL=redis.url,
        RATE_LIMIT_REMOVE_BG_PER_HOUR=5,
        RATE_LIMIT_PREVIEW_PER_HOUR=1000,
        RATE_LIMIT_MEGAPIXELS_PER_MINUTE=5,
        TRUSTED_PROXIES=1,
    )
    wait_until(lambda: both_workers(service, True, "healthy"))
    return service


@pytest.fixture
def service(two_workers: Service, redis: RedisServer) -> Iterator[Service]:
    """Two workers that share a limit of five; Redis is restored after each test."""
    yield two_workers
    if not redis.answers():
        redis.start()
    wait_until(lambda: both_workers(two_workers, True, "healthy"))


@pytest.fixture(scope="module", params=["memory", "redis"])
def faulty(request: pytest.FixtureRequest, start: Start, redis: RedisServer) -> Service:
    """One engine with faults, a queue of one request and a limit of three."""
    return start(
        ENGINE_PROCESSES=1,
        ENGINE_FAULTS=1,
        QUEUE_SIZE=0,
        RATE_LIMIT_STORAGE=request.param,
        REDIS_URL=redis.url,
        RATE_LIMIT_REMOVE_BG_PER_HOUR=3,
        TRUSTED_PROXIES=1,
    )


def test_the_keys_in_redis_are_documented(start: Start, redis: RedisServer) -> None:
    service = start(
        ENGINE_PROCESSES=1,
        RATE_LIMIT_STORAGE="redis",
        REDIS_URL=redis.url,
        RATE_LIMIT_REMOVE_BG_PER_HOUR=1000,
        CACHE_URL=redis.url,
    )
    assert service.request(URL, jpeg("coffee")).status == 200
    wait_until(lambda: service.request(URL, jpeg("coffee")).headers["X-Cache"] == "hit")
    keys = [str(key) for key in Redis.from_url(redis.url, decode_responses=True).keys("*")]
    rows = table_below("## Keys in Redis", (ROOT / "docs/operations.md").read_text(encoding="utf-8"))
    names = [row[0].strip("`").replace("SHA256", "[0-9a-f]{64}") for row in rows]
    patterns = [re.sub(r"\b(CLIENT|ENDPOINT|LIMIT|UNIT)\b", "[^/]+", name) for name in names]
    assert {key for key in keys if not any(re.fullmatch(pattern, key) for pattern in patterns)} == set()
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, key) for key in keys)] == []


def test_doctor_writes_to_redis(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("socket_timeout", "socket_connect_timeout"):
        monkeypatch.setitem(CLIENT_OPTIONS, name, PROMPT_SECONDS)
    settings = Settings(rate_limit_storage="redis", redis_url=SecretStr(redis.url), cache_url=SecretStr(redis.url))
    assert check_redis(settings).found == "REDIS_URL, CACHE_URL: can be written to"


def test_two_workers_let_exactly_five_of_nine_parallel_photos_through(service: Service) -> None:
    statuses = undisturbed(lambda: parallel(service, new_client(), body=jpeg("coffee")), service)
    assert Counter(statuses) == {200: 5, 429: 4}


def test_two_workers_let_exactly_five_of_many_through_repeatedly(service: Service) -> None:
    def ask(client: Mapping[str, str]) -> tuple[Counter[int], tuple[str, str]]:
        return Counter(parallel(service, client, 12)), left(invalid(service, client))

    for _ in range(5):
        assert undisturbed(lambda: ask(new_client()), service) == ({415: 5, 429: 7}, ("5", "0"))


def test_two_workers_share_the_remaining_megapixels(service: Service) -> None:
    picture = photo("coffee").resize((1500, 1000))  # 1.5 megapixels, which count as two
    body = json.dumps({"image_file_b64": base64.b64encode(encoded(picture, "JPEG")).decode()}).encode()

    def ask(client: dict[str, str]) -> list[Answer]:
        bodies = (b"{}", body, b"{}", body, body, body)
        return [service.request("/v1.0/removebg", data, headers=client) for data in bodies]

    answers = undisturbed(lambda: ask(new_client() | {"Content-Type": "application/json"}), service)
    assert [answer.status for answer in answers] == [400, 200, 400, 200, 200, 429]
    assert [left(answer)[1] for answer in answers] == ["5", "3", "3", "1", "0", "0"]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


def test_a_refusal_has_retry_after(service: Service) -> None:
    def ask(client: Mapping[str, str]) -> list[Answer]:
        return [invalid(service, client) for _ in range(6)]

    before = time.time()
    answers = undisturbed(lambda: ask(new_client()), service)
    after = time.time()
    assert answers[5].json["code"] == "RATE_LIMITED"
    assert "Retry-After" not in answers[4].headers
    seconds = int(answers[5].headers["Retry-After"])
    assert 3000 < seconds <= 3600
    assert before - 5 < int(answers[5].headers["X-RateLimit-Reset"]) - seconds < after + 5


def test_a_large_refused_body_gets_its_answer(service: Service) -> None:
    def ask(client: dict[str, str]) -> Answer:
        parallel(service, client, 5)
        return service.request(URL, jpeg() + bytes(9_000_000), headers=client)

    assert undisturbed(lambda: ask(new_client()), service).json["code"] == "RATE_LIMITED"


def test_a_forged_address_in_front_of_the_proxys_does_not_help(service: Service) -> None:
    def ask(address: str) -> list[int]:
        forged = [{"X-Forwarded-For": f"203.0.113.{number}, {address}"} for number in range(6)]
        return [invalid(service, headers).status for headers in forged]

    codes = undisturbed(lambda: ask(new_client()["X-Forwarded-For"]), service)
    assert codes == [415] * 5 + [429]


def test_without_a_proxy_a_forged_address_does_not_help(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, RATE_LIMIT_REMOVE_BG_PER_HOUR=2)
    forged = [{"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"} for number in range(3)]
    assert [invalid(service, headers).status for headers in forged] == [415, 415, 429]


@pytest.mark.parametrize("stop", [RedisServer.kill, RedisServer.freeze])
def test_requests_are_answered_without_redis_and_share_counts_afterwards(
    stop: Callable[[RedisServer], None], service: Service, redis: RedisServer
) -> None:
    assert undisturbed(lambda: left(invalid(service, new_client())), service) == ("5", "4")
    client = new_client()
    stop(redis)
    # The first request waits a fraction of a second; 1000 an hour are 500 in each worker's memory.
    answers = [invalid(service, client, PREVIEW) for _ in range(40)]
    assert [answer.status for answer in answers] == [415] * 40
    assert answers[-1].headers["X-RateLimit-Limit"] == "500"
    wait_until(lambda: both_workers(service, False, "degraded"))
    assert service.request("/health").status == 200
    assert set(parallel(service, new_client(), 24)) == {415, 429}  # two of them per worker
    redis.thaw() if stop is RedisServer.freeze else redis.start()
    wait_until(lambda: both_workers(service, True, "healthy"))
    assert Counter(undisturbed(lambda: parallel(service, new_client(), 12), service)) == {415: 5, 429: 7}


def test_requests_in_flight_when_redis_freezes_wait_once(service: Service, redis: RedisServer) -> None:
    redis.freeze()
    try:
        started = time.monotonic()
        for _ in range(3):
            assert Counter(parallel(service, new_client(), 24)).keys() <= {415, 429}
        assert time.monotonic() - started < 3 * PROMPT_SECONDS
    finally:
        redis.thaw()


def test_the_service_starts_without_redis_and_uses_it_later(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    later = RedisServer(free_port(), tmp_path_factory.mktemp("later"))
    service = start(
        ENGINE_PROCESSES=1,
        RATE_LIMIT_STORAGE="redis",
        REDIS_URL=later.url,
        RATE_LIMIT_REMOVE_BG_PER_HOUR=3,
        TRUSTED_PROXIES=1,
    )
    assert (redis_check(service), invalid(service, new_client()).status) == (False, 415)
    later.start()
    try:
        wait_until(lambda: redis_check(service))
        assert undisturbed(lambda: left(invalid(service, new_client())), service) == ("3", "2")
    finally:
        later.kill()


def test_a_redis_that_refuses_writes_counts_as_unavailable(service: Service, redis: RedisServer) -> None:
    redis.command("CONFIG SET maxmemory 1")
    try:
        wait_until(lambda: both_workers(service, False, "degraded"))
        assert invalid(service, new_client()).status == 415
    finally:
        redis.command("CONFIG SET maxmemory 0")


def test_a_crash_costs_the_client_nothing(faulty: Service) -> None:
    widths = count(200)  # not one image twice, which would be refused

    def crash_twice(client: dict[str, str]) -> list[tuple[str, str]]:
        answers = []
        for _ in range(2):
            image = encoded(photo("coffee").resize((next(widths), 100)), "JPEG")
            answers.append(faulty.request(URL, image, headers=client | {"X-Request-ID": "fault-segv"}))
            wait_until(faulty.healthy)
        assert [answer.status for answer in answers] == [500, 500]
        return [left(answer) for answer in (*answers, invalid(faulty, client))]

    assert undisturbed(lambda: crash_twice(new_client()), faulty) == [("3", "3"), ("3", "3"), ("3", "2")]


def test_a_full_queue_costs_the_client_nothing(faulty: Service) -> None:
    def be_refused(client: dict[str, str]) -> tuple[str, str]:
        wait_until(faulty.healthy)
        before = faulty.received()
        (engine,) = faulty.engines()
        engine.suspend()
        running = Post(faulty, URL, jpeg("coffee"), new_client())
        wait_until(lambda: faulty.received() > before)
        refused = [faulty.request(URL, jpeg("coffee"), headers=client) for _ in range(4)]
        engine.resume()
        assert running.result().status == 200
        assert [(answer.status, answer.json["code"]) for answer in refused] == [(429, "QUEUE_FULL")] * 4
        return left(invalid(faulty, client))

    assert undisturbed(lambda: be_refused(new_client()), faulty) == ("3", "2")


def reset(client: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", "limits", "reset", client]
    return subprocess.run(command, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True)


def test_a_client_can_be_reset(service: Service, redis: RedisServer) -> None:
    def ask(client: dict[str, str], other: dict[str, str]) -> tuple[list[Counter[int]], str, list[int]]:
        before = [Counter(parallel(service, each)) for each in (client, other)]
        done = reset(client["X-Forwarded-For"], RATE_LIMIT_STORAGE="redis", REDIS_URL=redis.url)
        return before, done.stdout[:9] or done.stderr, [invalid(service, each).status for each in (client, other)]

    attempts = (undisturbed(lambda: ask(new_client(), new_client()), service) for _ in range(20))
    # Redis may be paused for longer than the command waits.
    before, said, after = next(attempt for attempt in attempts if "cannot be reached" not in attempt[1])
    assert before == [{415: 5, 429: 4}] * 2
    assert said == "1 counts "
    assert after == [415, 429]


def test_counts_in_memory_cannot_be_reset_from_outside() -> None:
    done = reset("192.0.2.1")
    assert done.returncode == 1 and "cannot be reset from outside" in done.stderr


def test_a_reset_without_redis_fails_with_one_line() -> None:
    done = reset("192.0.2.1", RATE_LIMIT_STORAGE="redis", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 1 and "Redis cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
