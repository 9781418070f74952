"""API keys: where they come from, who gets in, and what a bad file does."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import g
from flask.testing import FlaskClient
from pydantic import SecretStr

from app import auth, create_app
from app.auth import ApiKey, KeyRing
from app.http.factory import build_app
from app.settings import Settings, SettingsError
from tests.conftest import jpeg
from tests.doubles import FakePool

URL = "/remove-background"
KEYS = (SecretStr("first-secret"), SecretStr("zweites-Gehe\u00edmnis"))


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(
        f"# who may ask\n\nshop:{sha('shop-key')}:100\n ci.bot : {sha('ci-key').upper()} :  # the usual limits\n"
    )
    return path


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
def test_a_known_key_opens(locked: FlaskClient, headers: dict[str, str]) -> None:
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
def test_everybody_else_stays_out(
    locked: FlaskClient, fake_pool: FakePool, headers: dict[str, str], answer: tuple[int, str]
) -> None:
    assert post(locked, **headers) == answer
    assert fake_pool.requests == []


def test_a_key_in_the_query_does_not_count(locked: FlaskClient) -> None:
    assert locked.post(f"{URL}?api_key=first-secret", data=jpeg()).status_code == 401


def test_only_a_401_says_how_to_authenticate(locked: FlaskClient) -> None:
    assert locked.post(URL).headers["WWW-Authenticate"] == "Bearer"
    assert "WWW-Authenticate" not in locked.post(URL, headers={"X-Api-Key": "wrong"}).headers


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_needs_no_key(locked: FlaskClient, path: str) -> None:
    assert locked.get(path).status_code in {200, 503}


def test_what_is_not_there_is_not_there_for_anybody(locked: FlaskClient) -> None:
    assert (locked.get("/nothing").status_code, locked.get(URL).status_code) == (404, 405)


def test_keys_of_the_setting_have_numbers() -> None:
    ring = KeyRing(KEYS)
    assert ring.find("first-secret") == ApiKey("key-1", bytes.fromhex(sha("first-secret")))
    assert ring.find("nonsense") is None


def test_a_file_gives_names_and_limits(keys_file: Path) -> None:
    ring = KeyRing(KEYS, keys_file)
    found = [ring.find(key) for key in ("shop-key", "ci-key", "first-secret")]
    assert [(key.name, key.per_hour) for key in found if key] == [("shop", 100), ("ci.bot", None), ("key-1", None)]


def test_the_limiter_learns_who_asks(keys_file: Path, fake_pool: FakePool) -> None:
    app = build_app(Settings(api_keys_file=keys_file), fake_pool.attach)
    seen = []
    app.teardown_request(lambda error: seen.append((g.api_key_name, g.api_key_limit)))
    client = app.test_client()
    client.post(URL, headers={"X-Api-Key": "shop-key"})
    client.get("/health/live", headers={"X-Api-Key": "shop-key"})
    assert seen == [("shop", 100), (None, None)]


def test_every_key_is_compared(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a wrong key takes must not tell which one it resembles."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("app.auth.hmac.compare_digest", compare)
    ring = KeyRing(KEYS, keys_file)
    for key in ("first-secret", "ci-key", "wrong"):
        compared.clear()
        ring.find(key)
        assert len(compared) == 4


BAD_LINES = [
    ("shop", "name:sha256hex:per_hour"),
    (f"shop:{sha('a')}", "name:sha256hex:per_hour"),
    (f"shop:{sha('a')}:1:2", "name:sha256hex:per_hour"),
    (f":{sha('a')}:", "name"),
    (f"a b:{sha('a')}:", "name"),
    ("shop:my-plain-secret:10", "SHA-256"),
    (f"shop:{sha('a')[:-1]}:10", "SHA-256"),
    (f"shop:{sha('a')}:-1", "per_hour"),
    (f"shop:{sha('a')}:many", "per_hour"),
    (f"good:{sha('a')}:", "taken"),
    (f"key-1:{sha('a')}:", "taken"),
    (f"other:{sha('good')}:", "twice"),
    (f"other:{sha('first-secret')}:", "twice"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_stops_the_start_and_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# keys\ngood:{sha('good')}:5\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        create_app(Settings(api_keys=KEYS, api_keys_file=path))
    message = str(caught.value)
    assert f"API_KEYS_FILE='{path}', line 3: " in message
    assert reason in message
    assert "my-plain-secret" not in message and sha("a") not in message


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="API_KEYS_FILE="):
        KeyRing((), path)


def test_an_empty_file_lets_nobody_in(tmp_path: Path, make_client: Callable[..., FlaskClient]) -> None:
    path = tmp_path / "keys"
    path.write_text("# nobody yet\n")
    assert post(make_client(api_keys_file=path), X_Api_Key="any") == (403, "AUTH_FAILED")


def test_rereading_changes_the_keys(keys_file: Path) -> None:
    ring = KeyRing(KEYS, keys_file)
    keys_file.write_text(f"new:{sha('new-key')}:\n")
    ring.reread()
    assert [bool(ring.find(key)) for key in ("new-key", "shop-key", "first-secret")] == [True, False, True]


@pytest.mark.parametrize("content", ["nonsense\n", None])
def test_a_bad_file_keeps_the_old_keys(keys_file: Path, content: str | None, caplog: pytest.LogCaptureFixture) -> None:
    ring = KeyRing((), keys_file)
    if content is None:
        keys_file.unlink()
    else:
        keys_file.write_text(content)
    with caplog.at_level(logging.ERROR):
        ring.reread()
    assert ring.find("shop-key")
    assert "keys.kept" in caplog.text and str(keys_file) in caplog.text and "nonsense" not in caplog.text


def test_a_worker_starts_with_the_keys_its_master_has(
    keys_file: Path, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_handed_down", None)
    auth.hand_down(KeyRing((), keys_file))
    keys_file.write_text("nonsense\n")
    client = build_app(Settings(api_keys_file=keys_file), fake_pool.attach).test_client()
    assert post(client, X_Api_Key="shop-key") == (200, "")
