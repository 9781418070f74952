"""Rate limits: clients, counting, counts given back, headers, storages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import Any, NoReturn

import pytest
from flask import g
from flask.testing import FlaskClient
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from werkzeug.test import TestResponse

from app.errors import DeadlineExceeded, EngineCrashed, InternalError, OutOfMemory, QueueFull, ServiceError
from app.http import limits
from app.http.client_address import FORWARDED
from app.http.factory import build_app
from app.redis_link import CircuitOpen
from app.settings import Settings
from tests.support.doubles import FakePool, failing
from tests.support.photos import jpeg
from tests.support.rate_limits import Clock, left

URL, PREVIEW = "/remove-background", "/remove-background-preview"
MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    """Client with a limit of two requests per hour."""
    return make_client(rate_limit_remove_bg_per_hour=2)


def ask(client: FlaskClient, url: str = URL, address: str = "192.0.2.1", **headers: str) -> TestResponse:
    return client.post(url, data=jpeg(), headers=headers, environ_overrides={"REMOTE_ADDR": address})


def statuses(client: FlaskClient, requests: int = 3, **more: str) -> list[int]:
    return [ask(client, **more).status_code for _ in range(requests)]


# Counting


def test_requests_over_the_limit_are_refused(client: FlaskClient) -> None:
    assert statuses(client, 4) == [200, 200, 429, 429]


def test_a_refusal_describes_the_limit(client: FlaskClient, clock: Clock) -> None:
    statuses(client, 2)
    body = ask(client).json
    assert body is not None
    assert (body["error"], body["code"], body["statusCode"]) == ("Rate limit exceeded", "RATE_LIMITED", 429)
    assert body["details"] == "limit: 2 per hour at /remove-background; resets in 3600 seconds"


def test_a_refused_request_reaches_no_engine(client: FlaskClient, fake_pool: FakePool) -> None:
    statuses(client, 4)
    assert len(fake_pool.requests) == 2


def test_the_limit_resets_after_an_hour(client: FlaskClient, clock: Clock) -> None:
    statuses(client, 3)
    clock.now += 3599
    assert ask(client).status_code == 429
    clock.now += 1
    assert statuses(client, 3) == [200, 200, 429]


def test_a_clock_that_is_set_back_does_not_prolong_a_limit(client: FlaskClient, clock: Clock) -> None:
    statuses(client, 3)
    clock.set_back(86_400)
    assert ask(client).headers["Retry-After"] == "3600"
    clock.now += 3599
    assert ask(client).status_code == 429
    clock.now += 1
    assert statuses(client, 3) == [200, 200, 429]


def test_every_endpoint_has_its_own_count(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, rate_limit_preview_per_hour=1)
    assert statuses(client, 2) == [200, 429]
    assert statuses(client, 2, url=PREVIEW) == [200, 429]


def test_zero_means_no_limit_and_no_headers(fast_client: FlaskClient) -> None:
    assert statuses(fast_client, 50) == [200] * 50
    assert not any(name.startswith("X-RateLimit") for name, _ in ask(fast_client).headers)


def test_health_and_preflights_are_exempt(client: FlaskClient) -> None:
    for response in [client.get("/health"), client.options(URL), client.get(URL), client.get("/nothing")]:
        assert "X-RateLimit-Limit" not in response.headers
    assert statuses(client) == [200, 200, 429]


def test_parallel_requests_are_counted_exactly(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=5)
    with ThreadPoolExecutor(9) as threads:
        codes = list(threads.map(lambda _: client.application.test_client().post(URL).status_code, range(45)))
    assert sorted(codes) == [400] * 5 + [429] * 40


def test_requests_are_counted_before_the_body_is_read(client: FlaskClient) -> None:
    for expected in [415, 415, 429]:
        assert client.post(URL, data=b"no image").status_code == expected


# Counts given back


@pytest.mark.parametrize("error", [QueueFull(), EngineCrashed(), InternalError(), RuntimeError("unforeseen")])
def test_a_server_error_costs_nothing(error: Exception, client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, error)
    assert {left(ask(client)) for _ in range(4)} == {("2", "2")}
    fake_pool.failure = None
    assert statuses(client) == [200, 200, 429]


@pytest.mark.parametrize("error", [OutOfMemory(), DeadlineExceeded()])
def test_a_client_error_or_a_deadline_counts(error: ServiceError, client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, error)
    assert statuses(client) == [error.status, error.status, 429]


def test_refused_requests_change_no_count(client: FlaskClient) -> None:
    assert statuses(client, 5) == [200, 200, 429, 429, 429]


def fail_after(pool: FakePool, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let the next request fail with a server error, after calling `act`; later requests succeed."""

    def submit(*_: object) -> NoReturn:
        monkeypatch.undo()
        with ThreadPoolExecutor(1) as thread:  # a nested request would share its `g`
            thread.submit(act).result()
        raise EngineCrashed()

    monkeypatch.setattr(pool, "submit", submit)


def test_refused_requests_do_not_affect_a_count_given_back(make_client: MakeClient, fake_pool: FakePool) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1)
    with pytest.MonkeyPatch.context() as patch:
        fail_after(fake_pool, patch, lambda: refused.extend(statuses(client.application.test_client())))
        refused: list[int] = []
        assert (ask(client).status_code, refused) == (500, [429] * 3)
    assert statuses(client, 2) == [200, 429]


def ask_later(clock: Clock, seconds: float, client: FlaskClient) -> Callable[[], object]:
    """Return a function that advances the clock and sends a request."""

    def act() -> object:
        clock.now += seconds
        return ask(client.application.test_client())

    return act


def test_no_count_is_given_back_to_the_next_window(client: FlaskClient, clock: Clock, fake_pool: FakePool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fail_after(fake_pool, patch, ask_later(clock, 3600, client))
        assert ask(client).status_code == 500
    assert left(ask(client)) == ("2", "0")


@pytest.mark.parametrize(("seconds", "remaining"), [(3598.5, "1"), (3599.5, "0")])
def test_no_count_is_given_back_in_the_last_second(
    seconds: float, remaining: str, make_client: MakeClient, clock: Clock, fake_pool: FakePool
) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=3)
    with pytest.MonkeyPatch.context() as patch:
        fail_after(fake_pool, patch, ask_later(clock, seconds, client))
        assert ask(client).status_code == 500
    assert left(ask(client)) == ("3", remaining)


def test_a_deleted_count_is_not_given_back(client: FlaskClient, fake_pool: FakePool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fail_after(fake_pool, patch, limits.limiter.storage.reset)
        assert left(ask(client)) == ("2", "2")
    assert left(ask(client)) == ("2", "1")


def test_concurrent_counts_and_returns_are_exact(make_client: MakeClient, fake_pool: FakePool) -> None:
    client, barrier = make_client(rate_limit_remove_bg_per_hour=8), threading.Barrier(8)
    failing(fake_pool, EngineCrashed())

    def send_requests() -> set[int]:
        own = client.application.test_client()
        barrier.wait()
        return {ask(own).status_code for _ in range(20)}

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(send_requests) for _ in range(8)]
        assert [each.result() for each in done] == [{500}] * 8
    fake_pool.failure = None
    assert left(ask(client)) == ("8", "7")


# Headers


def test_headers_count_down_with_the_same_reset(client: FlaskClient, clock: Clock) -> None:
    answers = [ask(client) for _ in range(3)]
    assert [left(answer) for answer in answers] == [("2", "1"), ("2", "0"), ("2", "0")]
    assert {answer.headers["X-RateLimit-Reset"] for answer in answers} == {str(int(clock.now) + 3601)}


def test_retry_after_is_sent_with_refusals_only(client: FlaskClient, clock: Clock) -> None:
    answers = [ask(client) for _ in range(2)]
    clock.now += 600.5
    answers.append(ask(client))
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, None, "3000"]


def test_retry_after_of_a_full_queue_is_kept(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, QueueFull(retry_after=7))
    answer = ask(client)
    assert (answer.headers["Retry-After"], left(answer)) == ("7", ("2", "2"))


def test_errors_have_the_headers(client: FlaskClient) -> None:
    answer = client.post(URL)
    assert (answer.status_code, left(answer)) == (400, ("2", "1"))


# Clients


def test_loopback_is_exempt_by_default(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, rate_limit_exempt=Settings().rate_limit_exempt)
    for address in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"):
        assert statuses(client, address=address) == [200] * 3
    assert statuses(client, 2) == [200, 429]


def test_exempt_answers_have_no_limit_headers(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, rate_limit_exempt=Settings().rate_limit_exempt)
    assert not any(name.startswith("X-RateLimit") for name, _ in ask(client, address="127.0.0.1").headers)


@pytest.mark.parametrize("proxies", [0, 1])
@pytest.mark.parametrize("header", FORWARDED)
def test_no_client_of_a_proxy_on_this_machine_is_exempt(header: str, proxies: int, make_client: MakeClient) -> None:
    client = make_client(
        rate_limit_remove_bg_per_hour=1, rate_limit_exempt=Settings().rate_limit_exempt, trusted_proxies=proxies
    )
    assert statuses(client, 2, address="127.0.0.1", **{header: "127.0.0.1"}) == [200, 429]


@pytest.mark.parametrize(
    ("host", "protocol", "exempt"),
    [
        ("localhost:5001", "HTTP/1.1", True),
        ("[::1]:5001", "HTTP/1.1", True),
        ("127.0.0.1:5001", "HTTP/1.0", False),
        ("photos.example", "HTTP/1.1", False),
        ("localhost.photos.example", "HTTP/1.1", False),
        ("203.0.113.7", "HTTP/1.1", False),
        ("[::1", "HTTP/1.1", False),
        ("", "HTTP/1.1", False),
    ],
)
def test_a_proxy_on_this_machine_that_adds_no_header_is_not_exempt(
    host: str, protocol: str, exempt: bool, make_client: MakeClient
) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, rate_limit_exempt=Settings().rate_limit_exempt)
    connection = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": host, "SERVER_PROTOCOL": protocol}
    answers = [client.post(URL, data=jpeg(), environ_overrides=connection) for _ in range(2)]
    assert [answer.status_code for answer in answers] == ([200, 200] if exempt else [200, 429])


OFFICE = (IPv4Network("10.0.0.0/8"),)


def test_another_network_can_be_exempt(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, rate_limit_exempt=OFFICE)
    assert statuses(client, 2, address="10.1.2.3") == [200, 200]
    assert statuses(client, 2, address="127.0.0.1") == [200, 429]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [(0, "10.1.2.3", 429), (1, "10.1.2.3", 200), (1, "10.1.2.3, 203.0.113.7", 429), (1, "127.0.0.1", 429)],
)
def test_an_exempt_client_behind_a_proxy_needs_trusted_proxies(
    proxies: int, forwarded: str, expected: int, make_client: MakeClient
) -> None:
    networks = (*OFFICE, *Settings().rate_limit_exempt)
    client = make_client(rate_limit_remove_bg_per_hour=1, rate_limit_exempt=networks, trusted_proxies=proxies)
    assert statuses(client, 2, address="10.0.0.1", **{"X-Forwarded-For": forwarded}) == [200, expected]


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ("2001:db8:1:2::1", True),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:3::1", False),
        ("192.0.2.1", False),
    ],
)
def test_an_ipv6_client_is_its_network(other: str, is_same: bool, make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1)
    ask(client, address="2001:db8:1:2::abcd")
    assert ask(client, address=other).status_code == (429 if is_same else 200)


def test_a_mapped_address_is_its_ipv4_address(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1)
    assert [ask(client, address=name).status_code for name in ("192.0.2.1", "::ffff:192.0.2.1")] == [200, 429]


@pytest.mark.parametrize(("proxies", "expected"), [(0, [200, 429]), (1, [200, 200])])
def test_a_forwarded_address_counts_only_through_a_proxy(
    proxies: int, expected: list[int], make_client: MakeClient
) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, trusted_proxies=proxies)
    answers = [ask(client, **{"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(2)]
    assert [answer.status_code for answer in answers] == expected


def test_addresses_forged_by_the_client_are_ignored_behind_a_proxy(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, trusted_proxies=1)
    answers = [ask(client, **{"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.1"}) for number in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_ports_that_a_proxy_adds_do_not_count(make_client: MakeClient) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1, trusted_proxies=1)
    names = ("198.51.100.1:1000", "198.51.100.1:2000", "198.51.100.2:1000", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1")
    assert [ask(client, **{"X-Forwarded-For": name}).status_code for name in names] == [200, 429, 200, 200, 200]


class Callers:
    """Application in which the test sets the authenticated client."""

    def __init__(self, pool: FakePool, **settings: int) -> None:
        self.name: str | None = None
        self.limit: int | None = None
        app = build_app(Settings(**settings), lambda *_: pool)  # type: ignore[arg-type]
        app.before_request_funcs[None].insert(0, self._set_client)
        self._client = app.test_client()

    def _set_client(self) -> None:
        g.api_key_name, g.api_key_limit = self.name, self.limit

    def ask(self, name: str | None, limit: int | None = None, requests: int = 3) -> list[int]:
        self.name, self.limit = name, limit
        return statuses(self._client, requests)


@pytest.fixture
def callers(fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> Callers:
    monkeypatch.setattr("app.http.auth.init_app", lambda *_: None)
    return Callers(fake_pool, rate_limit_remove_bg_per_hour=1)


def test_each_key_and_each_address_is_a_client(callers: Callers) -> None:
    assert [callers.ask(name, requests=2) for name in ("shop", "blog", None)] == [[200, 429]] * 3


@pytest.mark.parametrize(("limit", "expected"), [(2, [200, 200, 429]), (0, [200] * 3), (None, [200, 429, 429])])
def test_the_limit_of_a_key_replaces_that_of_the_endpoint(
    limit: int | None, expected: list[int], callers: Callers
) -> None:
    assert callers.ask("shop", limit) == expected


def test_a_key_named_like_an_address_is_not_that_address(callers: Callers) -> None:
    assert callers.ask("192.0.2.1", requests=1) == callers.ask(None, requests=1) == [200]


# Storages


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
    assert limits.storage_up() is True


def test_a_count_is_not_given_back_after_redis_fails(
    redis: FakeRedis, make_shared: MakeClient, fake_pool: FakePool
) -> None:
    client = make_shared(rate_limit_remove_bg_per_hour=3)
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

    monkeypatch.setattr("app.redis_link.Circuit.call", call)
    ask(make_shared(rate_limit_remove_bg_per_hour=3))
    assert waits[0] == 0.5 and waits == sorted(set(waits), reverse=True)


def test_the_log_does_not_contain_refused_clients(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    statuses(client)
    assert "192.0.2.1" not in caplog.text


def test_retry_after_is_at_least_one_second(client: FlaskClient, clock: Clock) -> None:
    statuses(client)
    clock.now += 3599.9
    assert ask(client).headers["Retry-After"] == "1"


def test_two_requests_that_open_the_circuit_are_both_counted_in_memory(
    redis: FakeRedis, make_shared: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_shared(rate_limit_remove_bg_per_hour=3)
    assert left(ask(client)) == ("3", "2")
    both = threading.Barrier(2)

    def call(*_: object) -> NoReturn:
        both.wait()
        raise CircuitOpen

    monkeypatch.setattr("app.redis_link.Circuit.call", call)
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(ask, client.application.test_client()) for _ in range(2)]
        assert [each.result().status_code for each in done] == [200, 200]
