"""Health check against servers on loopback. As the image runs it: tests/deploy/test_dockerfile.py."""

from __future__ import annotations

import pytest

from app.healthcheck import main
from tests.support.scripted_server import answer, serving
from tests.support.service import closed_port


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for longer than a busy machine pauses a server."""
    monkeypatch.setattr("app.healthcheck.TIMEOUT_SECONDS", 300.0)


def test_a_ready_service_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"{}")) as (port, heads):
        monkeypatch.setenv("PORT", str(port))
        assert main() is None
    assert heads[0].startswith(b"GET /health/ready HTTP/1.1\r\n")


def test_a_service_that_is_not_ready_fails_with_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"no engine", "503 Service Unavailable")) as (port, _):
        monkeypatch.setenv("PORT", str(port))
        assert main() == "503 no engine"


def test_a_service_that_cannot_be_reached_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port:
        monkeypatch.setenv("PORT", str(port))
        assert (main() or "").startswith("no answer: ")


def test_a_response_that_is_not_http_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(b"nonsense\r\n\r\n") as (port, _):
        monkeypatch.setenv("PORT", str(port))
        assert (main() or "").startswith("no answer: ")
