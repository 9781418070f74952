"""Access to /metrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from app.http.client_address import FORWARDED
from tests.support.doubles import FakePool

Make = Callable[..., FlaskClient]


def status(client: FlaskClient, address: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get("/metrics", environ_base={"REMOTE_ADDR": address}, headers=named).status_code


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.1", 403),
        ("::2", 403),
        ("::ffff:10.0.0.1", 403),
        ("", 403),
    ],
)
def test_only_loopback_has_access_by_default(address: str, expected: int, fast_client: FlaskClient) -> None:
    assert status(fast_client, address) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3", 200), ("2001:db8::7", 200), ("::ffff:10.1.2.3", 200), ("127.0.0.1", 403), ("2001:db9::7", 403)],
)
def test_networks_can_be_allowed(address: str, expected: int, make_client: Make) -> None:
    client = make_client(metrics_allowed_ips="10.0.0.0/8,2001:db8::/32")
    assert status(client, address) == expected


@pytest.mark.parametrize("name", FORWARDED)
def test_a_forwarded_request_is_never_loopback(name: str, fast_client: FlaskClient) -> None:
    answer = fast_client.get("/metrics", headers={name: "127.0.0.1"})
    assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN")  # type: ignore[index]


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "expected"),
    [
        (0, "10.0.0.9", 403),  # no proxy is trusted, and 10.0.0.1 is the proxy's address
        (1, "10.0.0.9", 200),
        (1, "203.0.113.5", 403),
        (1, "10.0.0.9, 203.0.113.5", 403),  # the left address is forged by the client
        (1, "127.0.0.1", 403),
        (2, "10.0.0.9", 403),  # fewer hops than TRUSTED_PROXIES: the client's address is unknown
    ],
)
def test_proxies_in_front(proxies: int, forwarded_for: str, expected: int, make_client: Make) -> None:
    client = make_client(metrics_allowed_ips="10.0.0.0/8,127.0.0.0/8", trusted_proxies=proxies)
    assert status(client, "10.0.0.1", X_Forwarded_For=forwarded_for) == expected


def test_keys_are_neither_needed_nor_sufficient(make_client: Make) -> None:
    client = make_client(api_keys=(SecretStr("secret"),))
    assert status(client, "127.0.0.1") == 200
    assert status(client, "203.0.113.5", X_Api_Key="secret") == 403


def test_metrics_are_available_during_shutdown(fast_client: FlaskClient, fake_pool: FakePool) -> None:
    fake_pool.queue.drain()
    assert status(fast_client, "127.0.0.1") == 200


def test_content_type_and_cache_control(fast_client: FlaskClient) -> None:
    headers = fast_client.get("/metrics").headers
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert headers["Cache-Control"] == "no-store"
