"""Health endpoints for load balancers, orchestrators and people."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from app.http.answers import Alive, Health, NotReady, Ready, json_response
from app.observability.health import HealthMonitor

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> Response:
    """Report everything; 503 when unhealthy."""
    report = Health.model_validate(_monitor().report())
    return json_response(report, 503 if report.status == "unhealthy" else 200, exclude_none=False)


@blueprint.get("/health/live")
def live() -> Response:
    """Say that the web process answers; looks at nothing else."""
    return json_response(Alive(status="alive"))


@blueprint.get("/health/ready")
def ready() -> Response:
    """Say whether photos can be worked on now; 503 with the reason when not."""
    is_ready, reason, solution = _monitor().readiness()
    if is_ready:
        return json_response(Ready(status="ready"))
    return json_response(NotReady(status="unavailable", reason=reason, solution=solution), 503)


def _monitor() -> HealthMonitor:
    monitor = current_app.extensions["health"]
    assert isinstance(monitor, HealthMonitor)  # noqa: S101  # for the type checker
    return monitor
