"""Lines of the log at start."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from app.settings import Settings
from app.startup import announcement


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:5001"),
        ("::", "http://localhost:5001"),
        ("127.0.0.1", "http://127.0.0.1:5001"),
        ("::1", "http://[::1]:5001"),
    ],
)
def test_the_address_and_a_first_command(host: str, url: str) -> None:
    address, _, example = announcement(Settings(host=host))
    assert address == f"Web page: {url}/, documentation: {url}/docs"
    assert f"curl --fail-with-body -F file=@photo.jpg {url}/remove-background -o out.png" in example


def test_the_limits() -> None:
    limits = announcement(Settings(rate_limit_preview_per_hour=0))[1]
    assert "/remove-background 10, /remove-background-preview no limit, /remove-background-base64 30" in limits
    assert limits.endswith("without limits: 127.0.0.0/8, ::1/128")


@pytest.mark.parametrize(("amount", "text"), [(70, "70"), (0, "no limit")])
def test_the_limit_of_jobs(amount: int, text: str) -> None:
    limits = announcement(Settings(rate_limit_jobs_per_hour=amount))[1]
    assert f"/remove-background-base64 30, /jobs (photos) {text}; without" in limits


def test_the_limit_of_jobs_is_not_named_without_jobs() -> None:
    assert "/jobs" not in announcement(Settings(jobs_backend="off"))[1]


@pytest.mark.parametrize(("networks", "text"), [((), "none"), ((IPv4Network("10.0.0.0/8"),), "10.0.0.0/8")])
def test_the_networks_without_limits(networks: tuple[IPv4Network, ...], text: str) -> None:
    assert announcement(Settings(rate_limit_exempt=networks))[1].endswith(f"without limits: {text}")
