"""Celery application of a worker that finds a stall within seconds."""

from __future__ import annotations

from celery import Celery

from app.jobs import celery_app, celery_worker

__all__ = ["app"]

celery_worker.MAX_IDLE_REPORTS = 3
celery_worker.REPORT_SECONDS = 1.0
app: Celery = celery_app.app
