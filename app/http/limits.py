"""Rate limits per client and endpoint, by Flask-Limiter.

A request is counted on entry, before its body is read; its count is given back when it fails through the service's
fault, except at its deadline. Of megapixels, one is counted on entry and the rest when the size is known; a failed
request costs none, except at its deadline. Of a job's photos, one is counted on entry and the others while they arrive;
a refused job costs none.

The storage belongs to the application that was initialised last: one application per process.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from flask import Flask, Response, g, request
from flask_limiter import HeaderNames, RateLimitExceeded, RequestLimit
from limits import RateLimitItemPerHour
from limits.storage import MemoryStorage
from limits.strategies import RateLimiter

from app.clients import address_client, key_client
from app.errors import DeadlineExceeded, RateLimited
from app.http.client_address import client_network, is_exempt
from app.http.headers import RATE_LIMIT_REMAINING
from app.http.limit_storage import GuardedLimiter
from app.limits import PREFIX, storage_uri
from app.redis_link import CLIENT_OPTIONS, CircuitOpen
from app.settings import Settings

__all__ = [
    "client_name",
    "count_megapixels",
    "init_app",
    "keep_photos",
    "limited_by",
    "limiter",
    "reserve_photos",
    "stop",
    "storage_up",
]

P = ParamSpec("P")
R = TypeVar("R")

# Seconds before the end of a window in which no count is given back: it could be taken from the next window.
MARGIN = 1.0
# Flask-Limiter adds Retry-After to every response: it is sent to this header, which is removed.
UNUSED_HEADER = "Unused-Retry-After"
# Units other than requests, by setting.
UNITS = {"rate_limit_megapixels_per_minute": "megapixels", "rate_limit_jobs_per_hour": "photos"}
# Photos to reserve at once: each reservation may wait for Redis.
BLOCK = 32


@dataclass(frozen=True, slots=True)
class _Count:
    """Count of one request, made on entry."""

    strategy: RateLimiter
    limit: RequestLimit

    def give_back(self, amount: int = 1) -> None:
        """Subtract from the count while its window lasts, never below zero."""
        storage, limit = self.strategy.storage, self.limit
        if time.time() < limit.window.reset_time - MARGIN and (counted := storage.get(limit.key)) > 0:
            self.add(-min(amount, counted))

    def add(self, amount: int) -> int:
        """Add to the count and return it."""
        return self.strategy.storage.incr(self.limit.key, self.limit.limit.get_expiry(), amount)

    def take(self, amount: int) -> int:
        """Add as much of an amount as fits in the limit, and return that."""
        excess = min(amount, max(0, self.add(amount) - self.limit.limit.amount))
        if excess:
            self.add(-excess)
        return amount - excess

    def remaining(self) -> int:
        """Return what remains of the limit."""
        return self.strategy.get_window_stats(self.limit.limit, *self.limit.request_args).remaining


@dataclass(slots=True)
class _Photos:
    """Photos of a job: those that its request has counted, and those that stay counted."""

    reserved: int = 1
    kept: int = 0


def client_name() -> str:
    """Return the client of the current request, as limits count it: its API key, or its network."""
    name: str | None = g.get("api_key_name")
    return key_client(name) if name else address_client(client_network(request))


def _refuse(limit: RequestLimit) -> None:
    """Give back the count of a refused request and prepare its error.

    If Redis fails here, Flask-Limiter checks the request again in memory.
    """
    limit = limiter.current_limit or limit
    _Count(limiter.limiter, limit).give_back()
    g.rate_limited = _refusal(limit)


def _refusal(limit: RequestLimit, note: str = "", solution: str = "") -> RateLimited:
    item, reset = limit.limit, limit.window.reset_time
    period = "hour" if isinstance(item, RateLimitItemPerHour) else "minute"
    seconds = min(max(1, math.ceil(reset - time.time())), item.get_expiry())
    return RateLimited(
        f"The limit is {item.amount} {g.rate_unit} per {period}.{note}",
        details=f"limit: {item.amount} per {period} at {request.path}; resets in {seconds} seconds",
        solution=solution,
        retry_after=seconds,
    )


limiter = GuardedLimiter(
    client_name,
    headers_enabled=True,
    header_name_mapping={HeaderNames.RETRY_AFTER: UNUSED_HEADER},
    in_memory_fallback_enabled=True,
    on_breach=_refuse,
)


def init_app(app: Flask, settings: Settings) -> None:
    """Limit the requests of an application; after the hooks that authenticate."""
    in_redis = settings.rate_limit_storage == "redis"
    app.config["RATELIMIT_STORAGE_URI"] = (
        storage_uri(settings.redis_url.get_secret_value()) if in_redis else "memory://"
    )
    app.config["RATELIMIT_STORAGE_OPTIONS"] = CLIENT_OPTIONS | {"key_prefix": PREFIX, "wrap_exceptions": True}
    limiter.settings = settings
    app.register_error_handler(RateLimitExceeded, lambda _: app.handle_user_exception(g.rate_limited))
    app.after_request(_correct_count)  # runs after Flask-Limiter's hook, which adds the headers
    limiter.logger.setLevel(logging.WARNING)  # its INFO lines contain clients
    limiter.init_app(app)


def limited_by(setting: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Limit a route, per client, to the number in a setting; 0: no limit."""
    window = "minute" if setting.endswith("_per_minute") else "hour"

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @limiter.limit(partial(_limit, setting, window))
        @wraps(view)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            with suppress(CircuitOpen):  # Redis has just failed: the count expires with its window
                # `window` is read here and cached, since it would be the next one later.
                if (limit := limiter.current_limit) and limit.window:
                    g.rate_count, g.in_megapixels = _Count(limiter.limiter, limit), window == "minute"
                    g.photos = _Photos() if UNITS.get(setting) == "photos" else None
            return view(*args, **kwargs)

        vars(counted)["limit_setting"] = setting
        return counted

    return decorate


def count_megapixels(pixels: int) -> None:
    """Set the size of this request's photo, where megapixels are counted; rounded up."""
    g.megapixels = max(1, math.ceil(pixels / 1_000_000))


def reserve_photos(number: int) -> None:
    """Count this many photos of a job in all; raise RateLimited if they do not fit in the limit."""
    count: _Count | None = g.get("rate_count")
    photos: _Photos | None = g.get("photos")
    if count is None or photos is None or number <= photos.reserved:
        return
    with suppress(CircuitOpen):  # Redis has just failed
        photos.reserved += count.take(max(number - photos.reserved, BLOCK))
        if number > photos.reserved:
            note = f" {photos.reserved} of this job's photos would fit now."
            raise _refusal(count.limit, note, "Send fewer photos, or retry after the seconds in Retry-After.")


def keep_photos(number: int) -> None:
    """Keep the count of a job's accepted photos; the rest is given back."""
    if photos := g.get("photos"):
        photos.kept = number


def storage_up() -> bool | None:
    """Return whether Redis can be reached; None where it is not in use."""
    return limiter.circuit.up() if limiter.circuit else None


def stop() -> None:
    """Stop the background probe of Redis."""
    if limiter.circuit:
        limiter.circuit.stop()


def _limit(setting: str, window: str) -> str:
    """Return this request's limit in the notation of Flask-Limiter, empty for none; an API key's own is in requests."""
    settings, unit = limiter.settings, UNITS.get(setting, "requests")
    amount: int | None = g.get("api_key_limit")
    if amount is None and is_exempt(request, settings.rate_limit_exempt, trusts_proxies=settings.trusted_proxies > 0):
        return ""
    amount, window = (getattr(settings, setting), window) if amount is None else (amount, "hour")
    g.rate_unit = "requests" if unit == "megapixels" and window == "hour" else unit
    if amount and isinstance(limiter.limiter.storage, MemoryStorage):  # each worker has its own
        amount = max(1, amount // settings.web_concurrency)
    return f"{amount} per {window}" if amount else ""


def _correct_count(response: Response) -> Response:
    """Correct the count of a request by its outcome."""
    response.headers.pop(UNUSED_HEADER, None)
    count: _Count | None = g.pop("rate_count", None)
    if count:
        with suppress(CircuitOpen):  # the answer is complete and is sent in any case
            if _correct(count, response.status_code):
                response.headers[RATE_LIMIT_REMAINING.name] = str(count.remaining())
    return response


def _correct(count: _Count, status: int) -> bool:
    """Give back the count of a failed request, or add the megapixels of its photo; return whether it has changed."""
    megapixels, photos = g.get("megapixels", 1), g.get("photos")
    if photos:
        count.give_back(photos.reserved - photos.kept)
        return True
    # The only 429 after entry is QUEUE_FULL. A 504 may have used an engine until its deadline.
    if status != DeadlineExceeded.status and (status >= 500 or status == 429 or (status >= 400 and g.in_megapixels)):
        count.give_back()
    elif megapixels > 1 and not isinstance(count.limit.limit, RateLimitItemPerHour):
        count.add(megapixels - 1)
    else:
        return False
    return True
