"""Time limits of fetches."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the time limit to the deadline of each test: a busy machine may pause a server for seconds."""
    for name in ("pinned_connection.CONNECT_SECONDS", "pinned_connection.READ_SECONDS", "url_fetcher.LOOKUP_SECONDS"):
        monkeypatch.setattr(f"app.fetch.{name}", 300.0)
