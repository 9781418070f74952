"""Names of clients in the keys of their counts. The reset of counts in a real Redis: tests/integration."""

from __future__ import annotations

import pytest

from app.limits import address_client, key_client, possible_clients


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
