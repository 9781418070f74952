"""API keys of requests: every route needs one unless it is declared public."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import Flask, Request, current_app, g, request

from app.errors import AuthFailed, AuthRequired
from app.keys import ApiKey, KeyRing

__all__ = ["init_app", "public"]

P = ParamSpec("P")
R = TypeVar("R")


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Open a route to requests without a key. Below the route's decorator."""
    vars(view)["is_public"] = True
    return view


def init_app(app: Flask, ring: KeyRing) -> None:
    """Ask for a key of this ring where one is needed."""

    @app.before_request
    def authenticate() -> None:
        g.api_key_name = g.api_key_limit = None
        if ring.required and _needs_key(request):
            key = _authenticated(ring, _sent_key(request))
            g.api_key_name, g.api_key_limit = key.name, key.per_hour


def _needs_key(request: Request) -> bool:
    """Return whether a request needs a key; a browser sends none with its preflight (Fetch, 4.8)."""
    if request.method == "OPTIONS" or request.routing_exception is not None:
        return False
    view = current_app.view_functions.get(request.endpoint or "")
    return not getattr(view, "is_public", False)


def _authenticated(ring: KeyRing, sent: str) -> ApiKey:
    if not sent:
        raise AuthRequired()
    key = ring.find(sent)
    if key is None:
        raise AuthFailed()
    return key


def _sent_key(request: Request) -> str:
    """Return what was sent as key; X-Api-Key wins, since a proxy may use Authorization for itself."""
    if key := request.headers.get("X-Api-Key", "").strip():
        return key
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
