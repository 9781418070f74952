"""API keys of requests: valid and invalid keys, and their headers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import g
from flask.testing import FlaskClient

from app.http.factory import build_app
from app.settings import Settings
from tests.support.api_keys import KEYS, sha
from tests.support.doubles import FakePool
from tests.support.photos import jpeg

URL = "/remove-background"


@pytest.fixture
def locked(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(api_keys=KEYS)


def post(client: FlaskClient, **headers: str) -> tuple[int, str]:
    response = client.post(URL, data=jpeg(), headers={name.replace("_", "-"): value for name, value in headers.items()})
    return response.status_code, "" if response.status_code == 200 else response.get_json()["code"]


def test_without_keys_the_service_is_open(fast_client: FlaskClient) -> None:
    assert post(fast_client) == (200, "")
    assert post(fast_client, X_Api_Key="whatever") == (200, "")


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Api_Key": "first-secret"},
        {"x_api_key": " first-secret "},
        {"X_Api_Key": "zweites-Gehe\u00edmnis".encode().decode("latin-1")},
        {"Authorization": "Bearer first-secret"},
        {"Authorization": "bearer  first-secret"},
        {"X_Api_Key": "first-secret", "Authorization": "Basic dXNlcjpwYXNz"},
    ],
)
def test_a_known_key_is_accepted(locked: FlaskClient, headers: dict[str, str]) -> None:
    assert post(locked, **headers) == (200, "")


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, (401, "AUTH_REQUIRED")),
        ({"X_Api_Key": ""}, (401, "AUTH_REQUIRED")),
        ({"Authorization": "Bearer "}, (401, "AUTH_REQUIRED")),
        ({"Authorization": "Basic Zmlyc3Qtc2VjcmV0"}, (401, "AUTH_REQUIRED")),
        ({"X_Api_Key": "first-secre"}, (403, "AUTH_FAILED")),
        ({"X_Api_Key": "First-Secret"}, (403, "AUTH_FAILED")),
        ({"X_Api_Key": "first-secret,first-secret"}, (403, "AUTH_FAILED")),
        ({"X_Api_Key": sha("first-secret")}, (403, "AUTH_FAILED")),
        ({"X_Api_Key": "wrong", "Authorization": "Bearer first-secret"}, (403, "AUTH_FAILED")),
        ({"Authorization": "Bearer wrong"}, (403, "AUTH_FAILED")),
    ],
)
def test_other_requests_are_refused(
    locked: FlaskClient, fake_pool: FakePool, headers: dict[str, str], answer: tuple[int, str]
) -> None:
    assert post(locked, **headers) == answer
    assert fake_pool.requests == []


def test_a_key_in_the_query_is_ignored(locked: FlaskClient) -> None:
    assert locked.post(f"{URL}?api_key=first-secret", data=jpeg()).status_code == 401


def test_www_authenticate_is_sent_with_401_only(locked: FlaskClient) -> None:
    assert locked.post(URL).headers["WWW-Authenticate"] == "Bearer"
    assert "WWW-Authenticate" not in locked.post(URL, headers={"X-Api-Key": "wrong"}).headers


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_needs_no_key(locked: FlaskClient, path: str) -> None:
    assert locked.get(path).status_code in {200, 503}


def test_routing_errors_need_no_key(locked: FlaskClient) -> None:
    assert (locked.get("/nothing").status_code, locked.get(URL).status_code) == (404, 405)


def test_the_limiter_receives_name_and_limit_of_the_key(keys_file: Path, fake_pool: FakePool) -> None:
    app = build_app(Settings(api_keys_file=keys_file), fake_pool.attach)
    seen = []
    app.teardown_request(lambda error: seen.append((g.api_key_name, g.api_key_limit)))
    client = app.test_client()
    client.post(URL, headers={"X-Api-Key": "shop-key"})
    client.get("/health/live", headers={"X-Api-Key": "shop-key"})
    assert seen == [("shop", 100), (None, None)]


def test_an_empty_file_allows_no_key(tmp_path: Path, make_client: Callable[..., FlaskClient]) -> None:
    path = tmp_path / "keys"
    path.write_text("# nobody yet\n")
    assert post(make_client(api_keys_file=path), X_Api_Key="any") == (403, "AUTH_FAILED")
