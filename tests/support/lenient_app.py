"""The service with one change: it also fetches from loopback, for the pictures of the tests."""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.fetch.url_fetcher import UrlFetcher
from app.settings import load_settings
from tests.support.doubles import use_fetcher

__all__ = ["create_lenient_app"]


def create_lenient_app() -> Flask:
    """Build the application with a fetcher that treats every address as public."""
    app = create_app()
    use_fetcher(app, UrlFetcher(load_settings(), is_public=lambda address: True))
    return app
