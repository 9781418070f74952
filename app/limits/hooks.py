"""Rate limits in front of the endpoints of Flask: before a body is read, and on every answer's headers."""

from __future__ import annotations

from flask import Flask, Response, current_app, g, request

from app.errors import RateLimited
from app.http.client import client_network
from app.limits.clients import address_client, key_client
from app.limits.counts import Count
from app.limits.rates import RateLimits
from app.settings import Settings

__all__ = ["EXEMPT_BLUEPRINTS", "LIMITED_ENDPOINTS", "init_app"]

# Which setting has an endpoint's limit. An endpoint stands here, or its blueprint is exempt (a test compares).
LIMITED_ENDPOINTS = {
    "native.remove_background": "rate_limit_remove_bg_per_hour",
    "native.remove_background_preview": "rate_limit_preview_per_hour",
    "native.remove_background_base64": "rate_limit_base64_per_hour",
    "files.read_file": "rate_limit_read_file_per_hour",
}
EXEMPT_BLUEPRINTS = {"health", "metrics"}


def init_app(app: Flask, settings: Settings, limits: RateLimits) -> None:
    """Limit the requests of an application; after the hooks that say who asks and set the deadline."""
    app.extensions["limits"] = limits
    app.extensions["limit_table"] = {name: getattr(settings, field) for name, field in LIMITED_ENDPOINTS.items()}
    app.before_request(_enter)
    app.after_request(_leave)


def _enter() -> None:
    """Count the request; raise RateLimited when its client has used up its limit."""
    limit = _limit()
    if not limit:
        return
    count = _limits().enter(_client(), request.endpoint or "", limit)
    g.rate_count = count
    if not count.admitted:
        raise RateLimited(
            f"At most {count.limit} requests per hour are answered here.",
            details=f"limit: {count.limit} per hour at {request.path}; it starts anew in {count.seconds_left} seconds",
            retry_after=count.seconds_left,
        )


def _leave(response: Response) -> Response:
    """Give the count back when the failure is ours, and say what is left."""
    count: Count | None = g.pop("rate_count", None)
    if count is None:
        return response
    remaining = count.remaining
    if count.admitted and _is_our_fault(response.status_code):
        _limits().give_back(count)
        remaining += 1
    response.headers["X-RateLimit-Limit"] = str(count.limit)
    response.headers["X-RateLimit-Remaining"] = str(remaining)
    response.headers["X-RateLimit-Reset"] = str(count.reset)
    return response


def _is_our_fault(status: int) -> bool:
    """Tell whether a request that was let in failed through no fault of its client: the only 429 left is QUEUE_FULL."""
    return status >= 500 or status == 429


def _limit() -> int:
    """Return the limit per hour of this request, 0 for none."""
    limit = current_app.extensions["limit_table"].get(request.endpoint)
    if limit is None or request.method == "OPTIONS":
        return 0
    of_key: int | None = g.get("api_key_limit")
    return int(limit if of_key is None else of_key)


def _client() -> str:
    name: str | None = g.get("api_key_name")
    return key_client(name) if name else address_client(client_network(request))


def _limits() -> RateLimits:
    limits = current_app.extensions["limits"]
    assert isinstance(limits, RateLimits)  # noqa: S101  # for the type checker
    return limits
