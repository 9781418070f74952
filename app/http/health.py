"""Health endpoints for load balancers, orchestrators and people."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from app.http.services import services

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> tuple[Response, int]:
    """Report everything; 503 when unhealthy."""
    report = services().health.report()
    return jsonify(report), 503 if report["status"] == "unhealthy" else 200


@blueprint.get("/health/live")
def live() -> Response:
    """Say that the web process answers; looks at nothing else."""
    return jsonify({"status": "alive"})


@blueprint.get("/health/ready")
def ready() -> tuple[Response, int]:
    """Say whether photos can be worked on now; 503 with the reason when not."""
    is_ready, reason, solution = services().health.readiness()
    if is_ready:
        return jsonify({"status": "ready"}), 200
    return jsonify({"status": "unavailable", "reason": reason, "solution": solution}), 503
