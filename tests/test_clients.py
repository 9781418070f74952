"""Names of clients in the keys of their counts. The reset of counts in a real Redis: tests/integration."""

from __future__ import annotations

import pytest

from app.clients import address_client, key_client, parse_address, possible_clients


def test_a_name_cannot_match_the_key_of_another_client() -> None:
    assert key_client("a/b:*?[c]") == "key:a%2Fb%3A%2A%3F%5Bc%5D"
    assert address_client("2001:db8::/64") == "ip:2001%3Adb8%3A%3A%2F64"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
        ("local", "local"),
    ],
)
def test_a_client_is_found_by_key_name_address_or_network(text: str, network: str) -> None:
    assert possible_clients(text) == [key_client(text), address_client(network)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.9", "198.51.100.9"),
        ("198.51.100.9:50123", "198.51.100.9"),
        ("[2001:db8::1]:50123", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("[::ffff:198.51.100.9]:1", "198.51.100.9"),
    ],
)
def test_an_address_may_have_a_port(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text", ["", "local", "198.51.100.9:", "198.51.100.9:1:2", "[]:1", "1.2.3:4", "[1.2.3.4", "host:80"]
)
def test_anything_else_is_not_an_address(text: str) -> None:
    assert parse_address(text) is None
