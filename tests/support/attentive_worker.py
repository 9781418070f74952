"""Celery application of a worker that finds a stall within seconds."""

from __future__ import annotations

from celery import Celery

from app.jobs import celery_app, celery_worker

__all__ = ["STALL_SECONDS"]

STALL_SECONDS = 3.0


def __getattr__(name: str) -> Celery:
    """Build `app`, which the command `celery` looks for, when it is first read."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    celery_worker.MAX_IDLE_REPORTS = int(STALL_SECONDS)
    celery_worker.REPORT_SECONDS = 1.0
    return celery_app.app
