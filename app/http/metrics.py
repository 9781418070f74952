"""GET /metrics, for the addresses in METRICS_ALLOWED_IPS alone."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Request, Response, request

from app.errors import Forbidden
from app.http.auth import public
from app.http.client import client_address, was_forwarded
from app.http.limits import limiter
from app.settings import Settings

__all__ = ["init_app"]

# The format that prometheus_client writes.
MIMETYPE = "text/plain; version=1.0.0; charset=utf-8"


def init_app(app: Flask, settings: Settings, exposition: Callable[[], bytes]) -> None:
    """Answer /metrics with what `exposition` returns."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    @limiter.exempt
    @public  # for the addresses in METRICS_ALLOWED_IPS
    def metrics() -> Response:
        """Answer with the metrics of all workers."""
        if not _is_allowed(request, settings):
            raise Forbidden()
        return Response(exposition(), content_type=MIMETYPE, headers={"Cache-Control": "no-store"})

    app.register_blueprint(blueprint)


def _is_allowed(request: Request, settings: Settings) -> bool:
    """Tell whether the client's own address is in METRICS_ALLOWED_IPS.

    A forwarded request is never loopback, and where no trusted proxy says whose it is, its address is only a proxy's.
    """
    address = client_address(request)
    if address is None or (was_forwarded(request) and (address.is_loopback or not _is_told_by_proxy(request))):
        return False
    return any(address in network for network in settings.metrics_allowed_ips)


def _is_told_by_proxy(request: Request) -> bool:
    """Tell whether ProxyFix has taken the address from a header."""
    connection = request.environ.get("werkzeug.proxy_fix.orig", {}).get("REMOTE_ADDR")
    return connection is not None and connection != request.remote_addr
