"""Rate limits per client and endpoint, by Flask-Limiter.

A request counts on entry, before its body is read; its count is given back when it fails through our fault. Of
megapixels one counts on entry and the rest when the size is known, and a failed call costs none.

The storage of Flask-Limiter belongs to the application that was initialised last: a process serves one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, g, request
from flask_limiter import HeaderNames, Limiter, RateLimitExceeded, RequestLimit
from limits import RateLimitItemPerHour
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import RateLimiter

from app.errors import RateLimited
from app.http.client_address import client_network
from app.limits import PREFIX, address_client, key_client, storage_uri
from app.redis_link import CLIENT_OPTIONS, MAX_WAIT, PROBE_LIFE, Circuit, CircuitOpen
from app.settings import Settings

__all__ = ["count_megapixels", "init_app", "limited_by", "limiter", "stop", "storage_up"]

P = ParamSpec("P")
R = TypeVar("R")

# Seconds before the end of a window in which a count is not given back: it might fall into the next window.
MARGIN = 1.0
# Flask-Limiter sends a Retry-After with every response: it is written to this header, which is removed.
UNUSED_HEADER = "Unused-Retry-After"


def _client() -> str:
    name: str | None = g.get("api_key_name")
    return key_client(name) if name else address_client(client_network(request))


def _refuse(limit: RequestLimit) -> None:
    """Take back the count of a request that is refused, and say why; when Redis fails here, it is counted in memory."""
    limit = limiter.current_limit or limit
    _give_back(limiter.limiter, limit)
    item, reset = limit.limit, limit.window.reset_time
    what, period = ("requests", "hour") if isinstance(item, RateLimitItemPerHour) else ("megapixels", "minute")
    seconds = min(max(1, math.ceil(reset - time.time())), item.get_expiry())
    g.rate_limited = RateLimited(
        f"At most {item.amount} {what} per {period} are answered here.",
        details=f"limit: {item.amount} per {period} at {request.path}; it starts anew in {seconds} seconds",
        retry_after=seconds,
    )


class _Limiter(Limiter):
    """Flask-Limiter with a circuit breaker in front of Redis, and a lock in front of memory."""

    settings: Settings
    circuit: Circuit | None = None

    def init_app(self, app: Flask) -> None:
        super().init_app(app)
        self._storage_recovered()
        self.circuit, lock = None, threading.RLock()
        if isinstance(self.storage, RedisStorage):
            # A write, as counting is: a Redis that is full or a replica answers a ping.
            probe = partial(self.storage.incr, "probe", PROBE_LIFE)
            client = self.storage.get_connection()
            self.circuit = Circuit("limits", client, probe, StorageError, self._storage_recovered)
            _intercept(self.storage, partial(_within_patience, self.circuit))
            vars(self.storage)["check"] = self.circuit.up
        for storage in (self.storage, self._fallback_storage):
            if isinstance(storage, MemoryStorage):  # which alone loses some counts of requests that come together
                _intercept(storage, partial(_locked, lock))

    def _storage_recovered(self) -> None:
        self._storage_dead = False  # Flask-Limiter itself looks only after up to half a minute

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        try:
            super()._check_request_limit(callable_name, in_middleware)
        except CircuitOpen:  # another request has found out first: this one is counted in memory, too
            super()._check_request_limit(callable_name, in_middleware)


def _intercept(storage: Storage, ask: Callable[..., Any]) -> None:
    for name in ("incr", "get", "get_expiry"):
        vars(storage)[name] = partial(ask, getattr(storage, name))


def _locked(lock: threading.RLock, question: Callable[..., R], *args: Any, **options: Any) -> R:
    with lock:
        return question(*args, **options)


def _within_patience(circuit: Circuit, question: Callable[..., R], *args: Any, **options: Any) -> R:
    """Ask Redis; all questions of one request together wait for MAX_WAIT at most."""
    started, waited = time.monotonic(), g.get("redis_seconds", 0.0)
    try:
        return circuit.call(partial(question, *args, **options), MAX_WAIT - waited)
    finally:
        g.redis_seconds = waited + time.monotonic() - started


limiter = _Limiter(
    _client,
    headers_enabled=True,
    header_name_mapping={HeaderNames.RETRY_AFTER: UNUSED_HEADER},
    in_memory_fallback_enabled=True,
    on_breach=_refuse,
)


def init_app(app: Flask, settings: Settings) -> None:
    """Count the requests of an application; after the hooks that authenticate."""
    shared = settings.rate_limit_storage == "redis"
    app.config["RATELIMIT_STORAGE_URI"] = storage_uri(settings.redis_url.get_secret_value()) if shared else "memory://"
    app.config["RATELIMIT_STORAGE_OPTIONS"] = CLIENT_OPTIONS | {"key_prefix": PREFIX, "wrap_exceptions": True}
    limiter.settings = settings
    app.register_error_handler(RateLimitExceeded, lambda _: app.handle_user_exception(g.rate_limited))
    app.after_request(_settle)  # runs after Flask-Limiter's, which adds the headers
    limiter.logger.setLevel(logging.WARNING)  # its INFO lines name clients
    limiter.init_app(app)


def limited_by(setting: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Limit a route, per client, to the number in a setting; 0 is no limit."""
    window = "minute" if setting.endswith("_per_minute") else "hour"

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @limiter.limit(partial(_limit, setting, window))
        @wraps(view)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            with suppress(CircuitOpen):  # when Redis has just gone, the count ends with its window
                if (limit := limiter.current_limit) and limit.window:  # read now: a later one is another
                    g.rate_count = limiter.limiter, limit, window == "minute"
            return view(*args, **kwargs)

        vars(counted)["limit_setting"] = setting
        return counted

    return decorate


def count_megapixels(pixels: int) -> None:
    """Set the size of this request's photo, where megapixels are counted; parts of one count as one."""
    g.rate_cost = max(1, math.ceil(pixels / 1_000_000))


def storage_up() -> bool | None:
    """Return whether Redis can be reached; None where it is not in use."""
    return limiter.circuit.up() if limiter.circuit else None


def stop() -> None:
    """Stop the background probe of Redis."""
    if limiter.circuit:
        limiter.circuit.stop()


def _limit(setting: str, window: str) -> str:
    """Return this request's limit as Flask-Limiter reads it, empty for none; an API key's own is of requests."""
    settings = limiter.settings
    amount: int | None = g.get("api_key_limit")
    amount, window = (getattr(settings, setting), window) if amount is None else (amount, "hour")
    if amount and isinstance(limiter.limiter.storage, MemoryStorage):  # which each worker has for itself
        amount = max(1, amount // settings.web_concurrency)
    return f"{amount} per {window}" if amount else ""


def _settle(response: Response) -> Response:
    """Correct what a request has counted on entry, now that its outcome is known."""
    response.headers.pop(UNUSED_HEADER, None)
    if "rate_count" in g:
        with suppress(CircuitOpen):  # the answer is finished: it is sent, whatever becomes of the counts
            _correct(response, *g.pop("rate_count"))
    return response


def _correct(response: Response, counter: RateLimiter, limit: RequestLimit, by_megapixels: bool) -> None:
    status, more = response.status_code, g.get("rate_cost", 1) - 1
    # The only 429 of a request that was let in is QUEUE_FULL.
    if status >= 500 or status == 429 or (status >= 400 and by_megapixels):
        _give_back(counter, limit)
    elif more and not isinstance(limit.limit, RateLimitItemPerHour):
        counter.storage.incr(limit.key, limit.limit.get_expiry(), more)
    else:
        return
    stats = counter.get_window_stats(limit.limit, *limit.request_args)
    response.headers["X-RateLimit-Remaining"] = str(stats.remaining)


def _give_back(counter: RateLimiter, limit: RequestLimit) -> None:
    """Take back one count while its window lasts, and never below zero."""
    if time.time() < limit.window.reset_time - MARGIN and counter.storage.get(limit.key) > 0:
        counter.storage.incr(limit.key, limit.limit.get_expiry(), -1)
