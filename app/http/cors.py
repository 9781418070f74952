"""CORS for web pages and browser extensions, by Flask-CORS."""

from __future__ import annotations

import logging
import re
import time
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask_cors import CORS

from app.http.headers import HEADERS, REQUEST_ID
from app.settings import Settings

__all__ = ["EXPOSED_HEADERS", "REQUEST_HEADERS", "init_app"]

log = logging.getLogger(__name__)

EXPOSED_HEADERS = tuple(HEADERS)
REQUEST_HEADERS = (
    "Accept",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Api-Key",
    REQUEST_ID.name,
    "X-Requested-With",
)
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST")
# All paths except /metrics, which no web page needs.
RESOURCES = r"/(?!metrics(?:/|$))"
PREFLIGHT_SECONDS = 3600
# Warnings of refused origins: one for each, and so many in a period.
WARNING_SECONDS, MAX_WARNINGS = 3600.0, 20


def init_app(app: Flask, settings: Settings) -> None:
    """Answer preflights and add CORS headers for the origins in CORS_ORIGINS; log refused ones.

    Never with credentials: scripts send the key in a header, browsers add nothing by themselves.
    """
    app.after_request(_RefusedOrigins().warn)  # runs after Flask-CORS
    if not settings.cors_origins:
        return
    app.after_request(_list_allowed_headers_once)  # runs after Flask-CORS
    any_origin = settings.cors_origins == ("*",)
    CORS(
        app,
        resources={RESOURCES: {}},
        origins="*" if any_origin else [_pattern(origin) for origin in settings.cors_origins],
        send_wildcard=any_origin,
        supports_credentials=False,
        methods=list(METHODS),
        allow_headers=list(REQUEST_HEADERS),
        expose_headers=list(EXPOSED_HEADERS),
        max_age=PREFLIGHT_SECONDS,
        allow_private_network=not any_origin,
    )


def _pattern(origin: str) -> re.Pattern[str]:
    """Return a pattern of the whole origin: Flask-CORS treats some texts as patterns, and matches the start only."""
    ids = re.escape(origin).replace(r"//\*", "//[a-z0-9-]+")
    return re.compile(ids + r"\Z", re.IGNORECASE)


class _RefusedOrigins:
    """Log of the origins of pages that may not read the answer."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._period_end = 0.0

    def warn(self, response: Response) -> Response:
        """Log a refused origin, each once in a period, with the setting that allows it."""
        origin = request.headers.get("Origin", "")[:200]
        if origin and "Access-Control-Allow-Origin" not in response.headers and self._is_new(origin):
            log.warning("cors.refused origin=%r: add it to CORS_ORIGINS to allow its pages", origin)
        return response

    def _is_new(self, origin: str) -> bool:
        if _is_own(origin) or not re.match(RESOURCES, request.path):
            return False
        now = time.monotonic()
        if now > self._period_end:
            self._seen, self._period_end = set(), now + WARNING_SECONDS
        if origin in self._seen or len(self._seen) >= MAX_WARNINGS:
            return False
        self._seen.add(origin)
        return True


def _is_own(origin: str) -> bool:
    """Return whether this is the service's own address: browsers send the origin with each POST."""
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def _list_allowed_headers_once(response: Response) -> Response:
    """Remove repetitions: Flask-CORS returns each name as often as the request lists it."""
    name = "Access-Control-Allow-Headers"
    if names := response.headers.get(name):
        response.headers[name] = ", ".join(sorted(set(names.lower().split(", "))))
    return response
