"""The service with one change: its jobs wait for Redis for longer than a busy machine pauses it."""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.jobs import redis_store
from app.redis_link import CLIENT_OPTIONS

__all__ = ["PATIENT_APP"]

PATIENT_APP = "tests.support.patient_app:create_patient_app()"
SECONDS = 60.0


def create_patient_app() -> Flask:
    """Build the application."""
    redis_store.MAX_WAIT = redis_store.SOCKET_SECONDS = SECONDS
    CLIENT_OPTIONS["socket_connect_timeout"] = SECONDS
    return create_app()
