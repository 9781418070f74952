"""Background Remover API: a photo in, its subject out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings

# Nothing is imported at module level: an engine lives in `app.engine` and must never load Flask.

__all__ = ["create_app"]


def __getattr__(name: str) -> Flask:
    """Build `app`, for servers that are started with `app:app`, when it is first read."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = application = create_app()
    return application


def create_app(settings: Settings | None = None) -> Flask:
    """Build the web application; settings come from the environment and .env unless given. Raise SettingsError."""
    from app.http.factory import build_app
    from app.settings import load_settings

    return build_app(settings or load_settings())
