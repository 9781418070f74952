"""CORS: allowed origins and preflights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import EngineCrashed
from app.http.cors import EXPOSED_HEADERS, REQUEST_HEADERS
from app.settings import SettingsError, load_settings
from tests.support.doubles import FakePool, failing
from tests.support.photos import jpeg

URL = "/remove-background"
SHOP = "https://shop.example"
EXTENSION = "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
FIREFOX = "moz-extension://c0ffee00-1234-4abc-8def-001122334455"
LOCAL = "http://localhost:3000"
ALLOWED = (SHOP, EXTENSION, FIREFOX, LOCAL)


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(cors_origins=ALLOWED, api_keys=("secret",))


def preflight(client: FlaskClient, origin: str, path: str = URL, method: str = "POST") -> TestResponse:
    return client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "content-type, x-api-key, x-evil",
        },
    )


@pytest.mark.parametrize("origin", ALLOWED)
def test_a_preflight_from_an_allowed_origin_is_answered_without_a_key(client: FlaskClient, origin: str) -> None:
    response = preflight(client, origin)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert response.headers["Access-Control-Allow-Headers"] == "content-type, x-api-key"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Max-Age"] == "3600"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://evil.example/https://shop.example",
        "https://shopXexample",
        "http://shop.example",
        "https://shop.example:8443",
        "https://sub.shop.example",
        "chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba",
        "moz-extension://c0ffee00-1234-4abc-8def-001122334456",
        "null",
        "*",
    ],
)
def test_another_origin_may_read_nothing(client: FlaskClient, origin: str) -> None:
    response = client.post(URL, headers={"Origin": origin, "X-Api-Key": "secret"})
    assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]
    assert "Origin" in response.vary


def test_by_default_no_origin_is_allowed(fast_client: FlaskClient) -> None:
    for response in (preflight(fast_client, SHOP), fast_client.post(URL, data=jpeg(), headers={"Origin": SHOP})):
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_all_response_headers_are_exposed(client: FlaskClient) -> None:
    response = client.post(URL, data=jpeg(), headers={"Origin": EXTENSION, "X-Api-Key": "secret"})
    assert response.headers["Access-Control-Allow-Origin"] == EXTENSION
    assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) == set(EXPOSED_HEADERS)
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("key", ["", "wrong", "secret"])
def test_errors_are_readable(client: FlaskClient, fake_pool: FakePool, key: str) -> None:
    failing(fake_pool, EngineCrashed())
    response = client.post(URL, data=jpeg(), headers={"Origin": SHOP, "X-Api-Key": key})
    assert response.status_code in {401, 403, 500}
    assert response.headers["Access-Control-Allow-Origin"] == SHOP


def test_404_is_readable(client: FlaskClient) -> None:
    assert client.get("/nothing", headers={"Origin": SHOP}).headers["Access-Control-Allow-Origin"] == SHOP


def test_all_origins_can_be_allowed_but_never_with_credentials(make_client: Callable[..., FlaskClient]) -> None:
    response = make_client(cors_origins=("*",)).post(URL, data=jpeg(), headers={"Origin": "https://any.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Origin" not in response.vary


def test_credentials_are_never_allowed(client: FlaskClient) -> None:
    assert "Access-Control-Allow-Credentials" not in preflight(client, SHOP).headers


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        "https://",
        "https://shop.example/",
        "https://shop.example/path",
        "https://*.shop.example",
        "https://user@shop.example",
        "https://shop.example:0",
        "https://shop.example:99999",
        "https://shöp.example",
        "ftp://shop.example",
        "file://",
        "app://",
        "app://*",
        "tauri://localhost/path",
        "null://",
        ".*",
        "chrome-extension://",
        "chrome-extension://*",
        "*,https://shop.example",
    ],
)
def test_an_invalid_origin_stops_the_start(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"{SHOP},{origin}")
    with pytest.raises(SettingsError, match="CORS_ORIGINS="):
        load_settings(env_file=None)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        (f" {SHOP} , {EXTENSION}", (SHOP, EXTENSION)),
        ("HTTPS://Shop.Example:443,http://localhost:80", (SHOP, "http://localhost")),
        ("http://[::1]:8080", ("http://[::1]:8080",)),
        (FIREFOX, (FIREFOX,)),
        ("moz-extension://*,null", ("moz-extension://*", "null")),
        ("capacitor://localhost,ionic://localhost", ("capacitor://localhost", "ionic://localhost")),
        ("Tauri://localhost,app://.,app://my.shop", ("tauri://localhost", "app://.", "app://my.shop")),
    ],
)
def test_origins_are_normalised_to_the_form_of_browsers(
    text: str, origins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)
    assert load_settings(env_file=None).cors_origins == origins


@pytest.mark.parametrize(
    ("listed", "origin", "allowed"),
    [
        ("moz-extension://*", FIREFOX, True),
        ("moz-extension://*", EXTENSION, False),
        ("moz-extension://*", f"{FIREFOX}.evil.example", False),
        ("moz-extension://*", f"https://evil.example/{FIREFOX}", False),
        ("null", "null", True),
        ("null", SHOP, False),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("capacitor://localhost", "ionic://localhost", False),
        ("tauri://localhost", "tauri://localhost", True),
        ("app://.", "app://.", True),
        ("app://.", "app://x", False),
    ],
)
def test_origins_of_programs(listed: str, origin: str, allowed: bool, make_client: Callable[..., FlaskClient]) -> None:
    response = preflight(make_client(cors_origins=(listed,)), origin)
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)


def test_common_request_headers_are_allowed(client: FlaskClient) -> None:
    asked = ", ".join(sorted(name.lower() for name in REQUEST_HEADERS))
    assert {"cache-control", "x-requested-with", "accept-language"} <= set(asked.split(", "))
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    assert client.options(URL, headers=headers).headers["Access-Control-Allow-Headers"] == asked


@pytest.mark.parametrize(
    ("listed", "origin", "answer"),
    [(ALLOWED, SHOP, "true"), (ALLOWED, "https://evil.example", None), (("*",), SHOP, "false")],
)
def test_a_preflight_into_a_private_network_is_answered_for_listed_origins(
    listed: tuple[str, ...], origin: str, answer: str | None, make_client: Callable[..., FlaskClient]
) -> None:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }
    response = make_client(cors_origins=listed).options(URL, headers=headers)
    assert response.headers.get("Access-Control-Allow-Private-Network") == answer


@pytest.mark.parametrize("listed", [(), ALLOWED])
def test_a_refused_origin_is_logged_once_with_the_setting(
    listed: tuple[str, ...], make_client: Callable[..., FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(cors_origins=listed)
    for origin in ("https://new.example", "https://new.example", "null"):
        preflight(client, origin)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert lines == [
        f"cors.refused origin='{origin}': add it to CORS_ORIGINS to allow its pages"
        for origin in ("https://new.example", "null")
    ]


def test_refused_origins_are_logged_up_to_a_limit(fast_client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(30):
        preflight(fast_client, f"https://{number}.example")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 20


@pytest.mark.parametrize(("origin", "path"), [("http://localhost", URL), ("https://new.example", "/metrics")])
def test_the_own_origin_and_metrics_are_not_logged(
    origin: str, path: str, fast_client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    fast_client.post(path, headers={"Origin": origin})
    assert "cors.refused" not in caplog.text
