"""GET /metrics, restricted to METRICS_ALLOWED_IPS, and hooks that count every request."""

from __future__ import annotations

import time

from flask import Blueprint, Flask, Request, Response, g, request

from app.errors import Forbidden
from app.http.auth import public
from app.http.client_address import client_address, was_forwarded
from app.http.limits import limiter
from app.http.services import services
from app.observability.metrics import Metrics
from app.settings import Settings

__all__ = ["add_hooks", "blueprint"]

# Format of prometheus_client.
MIMETYPE = "text/plain; version=1.0.0; charset=utf-8"

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@limiter.exempt
@public  # restricted by address instead
def metrics() -> Response:
    """Answer with the metrics of all workers."""
    if not _is_allowed(request, services().settings):
        raise Forbidden()
    services().sampler.sample()
    return Response(services().metrics.exposition(), content_type=MIMETYPE, headers={"Cache-Control": "no-store"})


def add_hooks(app: Flask, metrics: Metrics) -> None:
    """Count every request; must come before any hook that may answer one early."""

    @app.before_request
    def begin() -> None:
        g.started = time.monotonic()
        if request.endpoint != "metrics.metrics":
            g.metrics_inflight = True
            metrics.request_begun()

    @app.after_request
    def count(response: Response) -> Response:
        metrics.request_answered(
            method=request.method,
            endpoint=request.endpoint or "unmatched",
            status=response.status_code,
            error_code=g.get("error_code", ""),
            seconds=time.monotonic() - g.started,
        )
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if g.pop("metrics_inflight", False):
            metrics.request_ended()


def _is_allowed(request: Request, settings: Settings) -> bool:
    """Return whether the client's address is in METRICS_ALLOWED_IPS.

    A forwarded request is never loopback, and without a trusted proxy its address is that of the proxy.
    """
    address = client_address(request)
    if address is None or (was_forwarded(request) and (address.is_loopback or not _is_set_by_proxy_fix(request))):
        return False
    return any(address in network for network in settings.metrics_allowed_ips)


def _is_set_by_proxy_fix(request: Request) -> bool:
    """Return whether ProxyFix has taken the address from a header."""
    connection = request.environ.get("werkzeug.proxy_fix.orig", {}).get("REMOTE_ADDR")
    return connection is not None and connection != request.remote_addr
