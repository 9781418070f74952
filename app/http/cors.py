"""CORS for web pages and browser extensions, by Flask-CORS."""

from __future__ import annotations

import re

from flask import Flask, Response
from flask_cors import CORS

from app.http.headers import HEADERS, REQUEST_ID
from app.settings import Settings

__all__ = ["EXPOSED_HEADERS", "init_app"]

EXPOSED_HEADERS = tuple(HEADERS)
REQUEST_HEADERS = ("Accept", "Authorization", "Content-Type", "X-Api-Key", REQUEST_ID.name)
METHODS = ("GET", "HEAD", "OPTIONS", "POST")
# All paths except /metrics, which no web page needs.
RESOURCES = r"/(?!metrics(?:/|$))"
PREFLIGHT_SECONDS = 3600


def init_app(app: Flask, settings: Settings) -> None:
    """Answer preflights and add CORS headers for the origins in CORS_ORIGINS; without any, do nothing.

    Never with credentials: scripts send the key in a header, browsers add nothing by themselves.
    """
    if not settings.cors_origins:
        return
    app.after_request(_list_allowed_headers_once)  # runs after Flask-CORS
    any_origin = settings.cors_origins == ("*",)
    # Flask-CORS treats some texts as regular expressions, and matches them at the start only.
    origins = [re.compile(re.escape(origin) + r"\Z", re.IGNORECASE) for origin in settings.cors_origins]
    CORS(
        app,
        resources={RESOURCES: {}},
        origins="*" if any_origin else origins,
        send_wildcard=any_origin,
        supports_credentials=False,
        methods=list(METHODS),
        allow_headers=list(REQUEST_HEADERS),
        expose_headers=list(EXPOSED_HEADERS),
        max_age=PREFLIGHT_SECONDS,
    )


def _list_allowed_headers_once(response: Response) -> Response:
    """Remove repetitions: Flask-CORS returns each name as often as the request lists it."""
    name = "Access-Control-Allow-Headers"
    if names := response.headers.get(name):
        response.headers[name] = ", ".join(sorted(set(names.lower().split(", "))))
    return response
