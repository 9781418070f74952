"""Health endpoints."""

from __future__ import annotations

from flask import Blueprint, Response

from app.http.answers import Alive, Health, NotReady, Ready, json_response
from app.http.auth import public
from app.http.limits import limiter
from app.http.services import services

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@limiter.exempt
@public
def health() -> Response:
    """Report the state of all parts; 503 if unhealthy."""
    report = Health.model_validate(services().health.report())
    return json_response(report, 503 if report.status == "unhealthy" else 200, exclude_none=False)


@blueprint.get("/health/live")
@limiter.exempt
@public
def live() -> Response:
    """Report that the web process answers; checks nothing else."""
    return json_response(Alive(status="alive"))


@blueprint.get("/health/ready")
@limiter.exempt
@public
def ready() -> Response:
    """Report whether photos can be processed now; 503 with the reason if not."""
    is_ready, reason, solution = services().health.readiness()
    if is_ready:
        return json_response(Ready(status="ready"))
    return json_response(NotReady(status="unavailable", reason=reason, solution=solution), 503)
