"""Rate limits in front of the endpoints of Flask: before a body is read, and on every answer's headers."""

from __future__ import annotations

import math
from dataclasses import replace

from flask import Flask, Response, current_app, g, request

from app.errors import RateLimited
from app.http.client import client_network
from app.http.headers import RATE_LIMIT_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET
from app.limits.clients import address_client, key_client
from app.limits.counts import HOUR, MINUTE, Count, Window
from app.limits.rates import RateLimits
from app.settings import Settings

__all__ = ["EXEMPT", "LIMITED_ENDPOINTS", "count_megapixels", "init_app"]

# Which setting has an endpoint's limit. An endpoint stands here, or it or its blueprint is exempt (a test compares).
LIMITED_ENDPOINTS = {
    "native.remove_background": "rate_limit_remove_bg_per_hour",
    "native.remove_background_preview": "rate_limit_preview_per_hour",
    "native.remove_background_base64": "rate_limit_base64_per_hour",
    "files.read_file": "rate_limit_read_file_per_hour",
    "removebg.remove_background": "rate_limit_megapixels_per_minute",
    "removebg.improve": "rate_limit_megapixels_per_minute",
    "rembg.remove_upload": "rate_limit_remove_bg_per_hour",
    "rembg.remove_url": "rate_limit_remove_bg_per_hour",
}
EXEMPT = {"health", "metrics", "openapi", "removebg.account"}
# Where megapixels are counted, a call that fails costs nothing, whoever's fault it is.
BY_MEGAPIXELS = {name for name, setting in LIMITED_ENDPOINTS.items() if setting.endswith("_megapixels_per_minute")}


def init_app(app: Flask, settings: Settings, limits: RateLimits) -> None:
    """Limit the requests of an application; after the hooks that say who asks and set the deadline."""
    app.extensions["limits"] = limits
    app.extensions["limit_table"] = {name: getattr(settings, field) for name, field in LIMITED_ENDPOINTS.items()}
    app.before_request(_enter)
    app.after_request(_leave)


def count_megapixels(pixels: int) -> None:
    """Say how many pixels the photo of this request had, where megapixels are counted; parts of one count as one."""
    g.rate_cost = max(1, math.ceil(pixels / 1_000_000))


def _enter() -> None:
    """Count the request; raise RateLimited when its client has used up its limit."""
    limit, window = _limit()
    if not limit:
        return
    g.rate_count = count = _limits().enter(_client(), request.endpoint or "", limit, window)
    if count.admitted:
        return
    what, period = ("requests", "hour") if window is HOUR else ("megapixels", "minute")
    raise RateLimited(
        f"At most {count.limit} {what} per {period} are answered here.",
        details=f"limit: {count.limit} per {period} at {request.path}; it starts anew in {count.seconds_left} seconds",
        retry_after=count.seconds_left,
    )


def _leave(response: Response) -> Response:
    """Settle what the request costs, now that it is known how it ended, and say what is left."""
    count: Count | None = g.pop("rate_count", None)
    if count is None:
        return response
    if count.admitted:
        count = _settled(count, response.status_code)
    response.headers[RATE_LIMIT_LIMIT.name] = str(count.limit)
    response.headers[RATE_LIMIT_REMAINING.name] = str(count.remaining)
    response.headers[RATE_LIMIT_RESET.name] = str(count.reset)
    return response


def _settled(count: Count, status: int) -> Count:
    if _is_free(status):
        _limits().give_back(count)
        return replace(count, remaining=count.remaining + 1)
    if isinstance(count.item, MINUTE):
        return _limits().charge(count, g.get("rate_cost", 1) - 1)
    return count


def _is_free(status: int) -> bool:
    """Tell whether a request that was let in costs nothing: where it failed through no fault of its client.

    The only 429 left is QUEUE_FULL.
    """
    return status >= 500 or status == 429 or (status >= 400 and request.endpoint in BY_MEGAPIXELS)


def _limit() -> tuple[int, Window]:
    """Return the limit of this request, 0 for none, and what it is per."""
    limit = current_app.extensions["limit_table"].get(request.endpoint)
    if limit is None or request.method == "OPTIONS":
        return 0, HOUR
    of_key: int | None = g.get("api_key_limit")
    if of_key is not None:  # of requests, at every endpoint alike
        return of_key, HOUR
    return int(limit), MINUTE if request.endpoint in BY_MEGAPIXELS else HOUR


def _client() -> str:
    name: str | None = g.get("api_key_name")
    return key_client(name) if name else address_client(client_network(request))


def _limits() -> RateLimits:
    limits = current_app.extensions["limits"]
    assert isinstance(limits, RateLimits)  # noqa: S101  # for the type checker
    return limits
