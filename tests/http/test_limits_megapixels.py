"""Limits in megapixels per minute in remove.bg's dialect: one on entry, the others when the size is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from app.errors import CorruptImage, EngineCrashed, QueueFull, ServiceError, UnknownForeground
from app.removal import RemovalResult
from tests.support.doubles import FakePool, failing
from tests.support.photos import jpeg
from tests.support.rate_limits import Clock, left

MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def client(make_client: MakeClient) -> FlaskClient:
    return make_client(rate_limit_megapixels_per_minute=10)


def ask(client: FlaskClient, **headers: str) -> TestResponse:
    return client.post("/v1.0/removebg", data={"image_file": (io.BytesIO(jpeg()), "a.jpg")}, headers=headers)


@pytest.mark.parametrize(
    ("size", "cost"), [((1, 1), 1), ((1000, 1000), 1), ((1001, 1000), 2), ((2000, 1500), 3), ((5000, 4000), 20)]
)
def test_megapixels_are_rounded_up(size: tuple[int, int], cost: int, client: FlaskClient, fake_pool: FakePool) -> None:
    fake_pool.input_size = size
    assert left(ask(client)) == ("10", str(max(0, 10 - cost)))


def test_requests_over_the_limit_wait_for_the_next_minute(
    client: FlaskClient, fake_pool: FakePool, clock: Clock
) -> None:
    fake_pool.input_size = (3000, 2000)
    answers = [ask(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [left(answer)[1] for answer in answers] == ["4", "0", "0"]
    assert {answer.headers["X-RateLimit-Reset"] for answer in answers} == {str(int(clock.now) + 61)}
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, None, "60"]
    assert answers[2].json == {
        "errors": [
            {
                "title": "Rate limit exceeded",
                "code": "rate_limit_exceeded",
                "detail": "The limit is 10 megapixels per minute. Retry after the number of seconds in "
                "Retry-After. (limit: 10 per minute at /v1.0/removebg; resets in 60 seconds)",
            }
        ]
    }
    clock.now += 60
    assert left(ask(client)) == ("10", "4")


def test_a_size_known_after_the_minute_counts_in_the_next(
    client: FlaskClient, fake_pool: FakePool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = fake_pool.submit

    def slowly(*args: Any) -> RemovalResult:
        clock.now += 61
        return submit(*args)

    monkeypatch.setattr(fake_pool, "submit", slowly)
    fake_pool.input_size = (3000, 2000)
    assert left(ask(client))[1] == "5"
    monkeypatch.undo()


@pytest.mark.parametrize("error", [CorruptImage(), UnknownForeground(), QueueFull(), EngineCrashed(), RuntimeError()])
def test_a_failed_request_costs_nothing(
    error: ServiceError | RuntimeError, client: FlaskClient, fake_pool: FakePool
) -> None:
    failing(fake_pool, error)
    assert {left(ask(client)) for _ in range(12)} == {("10", "10")}


def test_an_invalid_request_costs_nothing(client: FlaskClient) -> None:
    assert left(client.post("/v1.0/removebg")) == ("10", "10")
    assert left(client.post("/v1.0/improve")) == ("10", "10")


def test_the_account_is_not_limited(client: FlaskClient) -> None:
    assert "X-RateLimit-Limit" not in client.get("/v1.0/account").headers


def test_other_dialects_are_counted_separately(client: FlaskClient, fake_pool: FakePool) -> None:
    fake_pool.input_size = (5000, 4000)
    assert [ask(client).status_code for _ in range(2)] == [200, 429]
    assert client.post("/remove-background", data=jpeg()).status_code == 200


@pytest.mark.parametrize(("per_hour", "expected"), [("3", ("3", "2")), ("", ("10", "4"))])
def test_the_limit_of_a_key_is_in_requests(
    per_hour: str, expected: tuple[str, str], make_client: MakeClient, fake_pool: FakePool, tmp_path: Any
) -> None:
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    (tmp_path / "keys").write_text(f"shop:{digest}:{per_hour}\n")
    fake_pool.input_size = (3000, 2000)
    client = make_client(rate_limit_megapixels_per_minute=10, api_keys_file=tmp_path / "keys")
    assert left(ask(client, **{"X-Api-Key": "secret"})) == expected


def test_an_unknown_key_is_refused_before_counting(make_client: MakeClient) -> None:
    client = make_client(rate_limit_megapixels_per_minute=10, api_keys=(SecretStr("good"),))
    assert "X-RateLimit-Limit" not in ask(client, **{"X-Api-Key": "bad"}).headers
