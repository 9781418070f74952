"""Rate limits: counting, counts given back, headers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from app.errors import DeadlineExceeded, EngineCrashed, InternalError, OutOfMemory, QueueFull, ServiceError
from app.http import limits
from tests.support.doubles import FakePool, failing
from tests.support.rate_limits import URL, Clock, ask, fail_after, left, statuses

PREVIEW = "/remove-background-preview"
MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    """Client with a limit of two requests per hour."""
    return make_client(rate_limit_remove_bg_per_hour=2)


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


def test_the_log_does_not_contain_refused_clients(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    statuses(client)
    assert "192.0.2.1" not in caplog.text


def test_retry_after_is_at_least_one_second(client: FlaskClient, clock: Clock) -> None:
    statuses(client)
    clock.now += 3599.9
    assert ask(client).headers["Retry-After"] == "1"
