"""Clock of rate limits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.rate_limits import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("limits.storage.memory", "flask_limiter._extension", "app.http.limits", "app.http.limit_storage"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock.time, monotonic=clock.monotonic))
    return clock
