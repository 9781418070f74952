"""Rate limits of jobs: photos are counted, and a job that does not fit is refused as a whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.http import limits
from tests.support.api_keys import sha
from tests.support.job_clients import jobs_of, post, stored_files
from tests.support.rate_limits import Clock, left

MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def client(make_jobs_client: MakeClient) -> FlaskClient:
    """Client with a limit of 100 photos per hour."""
    return make_jobs_client(rate_limit_jobs_per_hour=100)


def remaining(answer: TestResponse) -> int:
    return int(left(answer)[1])


def refusal(answer: TestResponse) -> str:
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (429, "RATE_LIMITED")
    return str(answer.json["message"])


def test_photos_are_counted(client: FlaskClient) -> None:
    assert [remaining(post(client, count)) for count in (1, 10, 40)] == [99, 89, 49]


def test_failed_photos_count(client: FlaskClient) -> None:
    bad = client.post("/jobs", data={"file": [(io.BytesIO(b"x"), "a"), (io.BytesIO(b"y"), "b")]})
    assert (bad.status_code, remaining(bad)) == (202, 98)


def test_a_job_that_does_not_fit_is_refused_as_a_whole(client: FlaskClient, folder: Path) -> None:
    post(client, 60)
    answer = post(client, 45)
    assert refusal(answer) == "The limit is 100 photos per hour. 40 of this job's photos would fit now."
    assert remaining(answer) == 40
    assert int(answer.headers["Retry-After"]) <= 3600
    assert len(stored_files(folder)) == 60
    assert remaining(post(client, 40)) == 0


def test_nothing_left_is_refused_before_the_body(client: FlaskClient) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    post(client, 100)
    answer = client.post("/jobs", input_stream=Unread(), content_type="application/json", content_length=10)
    assert refusal(answer) == "The limit is 100 photos per hour."


@pytest.mark.parametrize("announced", [41, 100])
def test_an_announced_number_that_does_not_fit_is_refused_before_the_body(client: FlaskClient, announced: int) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    post(client, 60)
    answer = client.post(
        f"/jobs?files={announced}", input_stream=Unread(), content_type="application/json", content_length=10
    )
    assert "40 of this job's photos" in refusal(answer)
    assert remaining(post(client, 40)) == 0


@pytest.mark.parametrize(("announced", "sent"), [(40, 40), (40, 3), (3, 40)])
def test_the_sent_photos_count_not_the_announced_ones(client: FlaskClient, announced: int, sent: int) -> None:
    assert remaining(post(client, sent, path=f"/jobs?files={announced}")) == 100 - sent


@pytest.mark.parametrize("fields", [{"quality": "1"}, {"presets": "nope"}])
def test_a_refused_job_costs_nothing(client: FlaskClient, fields: dict[str, str]) -> None:
    assert remaining(post(client, 70, fields=fields)) == 100
    assert remaining(post(client, 70)) == 30


def test_a_repeated_job_costs_nothing(client: FlaskClient) -> None:
    assert [remaining(post(client, 40, headers={"Idempotency-Key": "k"})) for _ in range(3)] == [60, 60, 60]


def test_the_limit_resets_after_an_hour(client: FlaskClient, clock: Clock) -> None:
    post(client, 100)
    clock.now += 3601
    assert remaining(post(client, 1)) == 99


def test_a_key_has_its_own_limit(make_jobs_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"shop:{sha('shop-key')}:5\n")
    client = make_jobs_client(api_keys_file=tmp_path / "keys", rate_limit_jobs_per_hour=100)
    key = {"X-Api-Key": "shop-key"}
    assert remaining(post(client, 3, headers=key)) == 2
    assert "5 photos per hour. 2 of this job's" in refusal(post(client, 3, headers=key))


def test_without_a_limit_nothing_is_counted(make_jobs_client: MakeClient) -> None:
    answer = post(make_jobs_client(), 50)
    assert answer.status_code == 202
    assert "X-RateLimit-Limit" not in answer.headers


def test_other_paths_of_jobs_are_not_limited(client: FlaskClient) -> None:
    link = post(client, 100).headers["Location"]
    for path in (link, f"{link}/items/1", f"{link}/results.zip", "/jobs"):
        answer = client.get(path)
        assert answer.status_code != 429
        assert "X-RateLimit-Limit" not in answer.headers
        answer.close()
    assert client.delete(link).status_code == 204


def test_two_jobs_at_once_share_the_limit_exactly(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []
    check = jobs_of(client).check

    def other_first() -> None:
        monkeypatch.setattr(jobs_of(client), "check", check)
        with ThreadPoolExecutor(1) as thread:  # a nested request would share its `g`
            answers.append(thread.submit(post, client.application.test_client(), 70).result())

    monkeypatch.setattr(jobs_of(client), "check", other_first)
    second = post(client, 40)
    assert answers[0].status_code == 202
    assert "30 of this job's" in refusal(second)
    assert remaining(second) == 30


def test_a_lost_count_does_not_stop_a_job(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    check = jobs_of(client).check

    def lose() -> None:
        limits.limiter.storage.reset()
        check()

    monkeypatch.setattr(jobs_of(client), "check", lose)
    assert post(client, 50).status_code == 202
