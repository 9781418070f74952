"""The service with one change: a test holds back most photos of jobs, so that a job lasts until the test goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock

from flask import Flask

from app.engine.pool import EnginePool
from app.engine.submission import Deadline, Outcome
from app.http.factory import build_app
from app.removal import RemovalRequest
from app.settings import load_settings

__all__ = ["create_held_app"]

# Photos that pass while the file HOLD exists.
PASSING = 3


class HeldPool(EnginePool):
    """Pool that keeps photos of jobs waiting while a file exists."""

    _lock, _passed = Lock(), 0

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[Outcome]:
        hold = Path(os.environ["HOLD"])
        with self._lock:
            self._passed = self._passed + 1 if hold.exists() else 0
            passes = self._passed <= PASSING
        while not passes and hold.exists():
            time.sleep(0.02)
        return super().submit_all(request, deadline)


def create_held_app() -> Flask:
    """Build the application."""
    return build_app(load_settings(), HeldPool)
