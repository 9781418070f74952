"""Application factory: configuration of Flask, services, hooks and routes."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app.engine.pool import EnginePool
from app.http import (
    admission,
    auth,
    cors,
    errors,
    files,
    health,
    limits,
    metrics,
    native,
    rembg,
    request_ids,
    request_log,
    security,
)
from app.http.jobs import views as jobs
from app.http.openapi import pages
from app.http.page import views as page
from app.http.removebg import views as removebg
from app.http.services import PoolFactory, Services, build_services, install
from app.keys import KeyRing
from app.settings import Settings

__all__ = ["build_app"]


def build_app(settings: Settings, make_pool: PoolFactory = EnginePool) -> Flask:
    """Build the application; raise SettingsError. Engines start with `Services.start`, or with the first photo."""
    app = _bare_app(settings)
    services = build_services(settings, make_pool)
    install(app, services)
    _add_hooks(app, services)
    _add_routes(app, services)
    return app


def _bare_app(settings: Settings) -> Flask:
    app = Flask("app", static_folder=None)
    app.debug = False  # overrides FLASK_DEBUG: the debugger executes code sent by clients
    app.url_map.merge_slashes = False  # its redirects return the query percent-encoded: 36 kB of headers
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    app.json.sort_keys = False  # type: ignore[attr-defined]  # keep the documented order
    return app


def _add_hooks(app: Flask, services: Services) -> None:
    """Add the hooks of every request; Flask runs `before_request` in this order, `after_request` in reverse."""
    settings = services.settings
    metrics.add_hooks(app, services.metrics)
    request_ids.init_app(app)
    request_log.init_app(app)
    security.init_app(app, settings)
    cors.init_app(app, settings)
    errors.init_app(app, {removebg.PREFIX: removebg.render})
    admission.init_app(app, settings)
    auth.init_app(app, KeyRing(settings.api_keys, settings.api_keys_file))  # after the request's deadline is set
    limits.init_app(app, settings)  # after auth, which identifies the client


def _add_routes(app: Flask, services: Services) -> None:
    for blueprint in (
        native.blueprint,
        removebg.blueprint,
        rembg.blueprint,
        files.blueprint,
        health.blueprint,
        metrics.blueprint,
    ):
        app.register_blueprint(blueprint)
    if services.jobs is not None:
        app.register_blueprint(jobs.blueprint)
    pages.init_app(app, services.settings, services.presets)
    if services.settings.web_page:
        page.init_app(app, services.settings, services.presets)
