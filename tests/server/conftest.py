"""Limits of time that a busy machine does not reach."""

from __future__ import annotations

import pytest

from app.server import connection, pace


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no client be too slow, except where a test shortens a limit."""
    monkeypatch.setattr(pace, "GRACE_SECONDS", 60.0)
    monkeypatch.setattr(connection, "HEAD_SECONDS", 60.0)
