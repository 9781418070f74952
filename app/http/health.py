"""Health endpoints for load balancers, orchestrators and people."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from app.http.auth import public
from app.http.limits import limiter
from app.observability.health import HealthMonitor

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@limiter.exempt
@public
def health() -> tuple[Response, int]:
    """Report everything; 503 when unhealthy."""
    report = _monitor().report()
    return jsonify(report), 503 if report["status"] == "unhealthy" else 200


@blueprint.get("/health/live")
@limiter.exempt
@public
def live() -> Response:
    """Say that the web process answers; looks at nothing else."""
    return jsonify({"status": "alive"})


@blueprint.get("/health/ready")
@limiter.exempt
@public
def ready() -> tuple[Response, int]:
    """Say whether photos can be worked on now; 503 with the reason when not."""
    is_ready, reason, solution = _monitor().readiness()
    if is_ready:
        return jsonify({"status": "ready"}), 200
    return jsonify({"status": "unavailable", "reason": reason, "solution": solution}), 503


def _monitor() -> HealthMonitor:
    monitor = current_app.extensions["health"]
    assert isinstance(monitor, HealthMonitor)  # noqa: S101  # for the type checker
    return monitor
