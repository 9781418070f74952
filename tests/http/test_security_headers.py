"""Security headers of every answer, and secrets that must not be shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr, ValidationError

from app.http.factory import build_app
from app.http.security import SECURITY_HEADERS
from app.settings import Settings, SettingsError, load_settings
from tests.support.doubles import FakePool, failing
from tests.support.photos import jpeg

KEY = "s3cret-key"
REDIS = "redis://:s3cret-password@cache:6379/0"
REQUESTS = [
    ("GET", "/health", 200),
    ("GET", "/health/live", 200),
    ("GET", "/nothing", 404),
    ("GET", "/remove-background", 405),
    ("OPTIONS", "/remove-background", 200),
    ("POST", "/remove-background", 200),
    ("POST", "/remove-background-preview", 200),
    ("POST", "/remove-background-base64", 200),
    ("POST", "/read-file", 400),
]


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS)
def test_every_answer_has_the_headers(fast_client: FlaskClient, method: str, path: str, status: int) -> None:
    response = fast_client.open(path, method=method, data=b"{}" if path == "/read-file" else jpeg())
    assert response.status_code == status
    assert SECURITY_HEADERS.items() <= dict(response.headers).items()
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in response.headers


def test_an_unexpected_failure_has_the_headers(fast_client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, RuntimeError("unexpected"))
    response = fast_client.post("/remove-background", data=jpeg())
    assert response.status_code == 500
    assert SECURITY_HEADERS.items() <= dict(response.headers).items()
    assert b"unexpected" not in response.data


def test_a_refused_request_has_the_headers(make_client: Callable[..., FlaskClient]) -> None:
    response = make_client(api_keys=(KEY,)).post("/remove-background", data=jpeg())
    assert response.status_code == 401
    assert SECURITY_HEADERS.items() <= dict(response.headers).items()


@pytest.mark.parametrize(
    ("name", "value"),
    [("FLASK_DEBUG", "1"), ("FLASK_DEBUG", "true"), ("DEBUG", "true"), ("FLASK_ENV", "development")],
)
def test_debug_stays_off(name: str, value: str, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    app = build_app(Settings(), fake_pool.attach)
    assert (app.debug, app.config["DEBUG"], app.testing) == (False, False, False)


def test_printed_settings_contain_no_secrets() -> None:
    settings = Settings(api_keys=(SecretStr(KEY),), redis_url=SecretStr(REDIS))
    for text in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert "s3cret" not in text


def test_errors_about_settings_contain_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"API_KEYS": KEY, "REDIS_URL": REDIS, "PORT": "0", "MAX_PIXELS": "9" * 9}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(env_file=None)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    monkeypatch.delenv("PORT")
    with pytest.raises(SettingsError, match="MAX_PIXELS") as caught:
        load_settings(env_file=None)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("bad", [{"api_keys": {"s3cret": 1}}, {"redis_url": ["s3cret"]}, {"api_keys": ("s3cret", 3)}])
def test_a_secret_of_the_wrong_type_is_not_shown(bad: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(env_file=None, **bad)
    assert "s3cret" not in str(caught.value)


def test_errors_of_pydantic_contain_no_secrets() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(api_keys=(SecretStr(KEY),), redis_url="s3cret", max_pixels=10**9)
    assert "s3cret" not in str(caught.value)
