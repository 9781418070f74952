"""Check of access without API keys."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psutil
import pytest
from pydantic import SecretStr

from app.cli.doctor.access import check_access
from app.cli.doctor.findings import Level
from app.settings import Settings

OK, FAIL = Level.OK, Level.FAIL


@pytest.fixture
def public_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine with private IPv4 addresses, a public one, and a public IPv6 address."""
    addresses = [
        SimpleNamespace(family=socket.AF_INET, address="127.0.0.1"),
        SimpleNamespace(family=socket.AF_INET, address="8.8.4.4"),
        SimpleNamespace(family=socket.AF_INET6, address="fe80::1%eth0"),
        SimpleNamespace(family=socket.AF_INET6, address="2a00:1450::1"),
        SimpleNamespace(family=psutil.AF_LINK, address="00:00:00:00:00:00"),
    ]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": addresses})


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("0.0.0.0", "and 8.8.4.4 is a public address"),
        ("::", "and 8.8.4.4, 2a00:1450::1 is"),
        ("[::]", "and 8.8.4.4, 2a00:1450::1 is"),
        ("8.8.4.4", "and 8.8.4.4 is"),
    ],
)
def test_an_open_service_on_a_public_address_fails(host: str, found: str, public_machine: None) -> None:
    finding = check_access(Settings(host=host))
    assert finding.level is FAIL and found in finding.found and "API_KEYS" in finding.advice


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.7", "no such host"])
def test_a_private_address_passes(host: str, public_machine: None) -> None:
    assert check_access(Settings(host=host)).level is OK


def test_keys_pass_on_any_address(public_machine: None) -> None:
    assert check_access(Settings(api_keys=(SecretStr("key"),))).level is OK


def test_a_machine_without_a_public_address_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    assert check_access(Settings()).level is OK
