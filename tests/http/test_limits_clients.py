"""Rate limits: the client of a request, and clients without limits."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

import pytest
from flask import g
from flask.testing import FlaskClient

from app.http.client_address import FORWARDED
from app.http.factory import build_app
from app.settings import Settings
from tests.support.doubles import FakePool
from tests.support.photos import jpeg
from tests.support.rate_limits import URL, ask, statuses

MakeClient = Callable[..., FlaskClient]


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
