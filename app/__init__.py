"""Background Remover API: a photo in, its subject out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.engine.pool import EnginePool
    from app.settings import Settings

# Nothing is imported at module level: an engine lives in `app.engine` and must never load Flask.

__all__ = ["create_app"]


def create_app(settings: Settings | None = None, pool: EnginePool | None = None) -> Flask:
    """Build the web application; `settings` come from the environment and .env unless given.

    Engines start with `app.extensions["pool"].start()`, at the latest with the first photo. Raises SettingsError.
    """
    from app.settings import load_settings

    settings = settings or load_settings()
    app = _bare_app(settings)
    _add_parts(app, settings, pool)
    _add_routes(app, settings)
    return app


def _bare_app(settings: Settings) -> Flask:
    """Return Flask as this service wants it, without a route."""
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from app.http.bodies import MemoryRequest

    app = Flask(__name__, static_folder=None)
    app.debug = False  # whatever FLASK_DEBUG says: a debugger runs what a caller sends
    app.request_class = MemoryRequest
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_content_length,
        MAX_FORM_MEMORY_SIZE=settings.max_content_length,  # base64 comes as a text field too
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the order of the documentation reads better
    return app


def _add_parts(app: Flask, settings: Settings, pool: EnginePool | None) -> None:
    """Make what requests work with, and connect it."""
    from app.cache.results import open_cache
    from app.engine.fetcher import WeightsFetcher
    from app.engine.pool import EnginePool
    from app.fetch.fetcher import Fetcher
    from app.http import limits
    from app.http.admission import Admission
    from app.http.removal import RemovalService
    from app.layout import engine_layout
    from app.observability.health import HealthMonitor
    from app.observability.metrics import Metrics
    from app.storage import Sweeper

    layout = engine_layout(settings)
    pool = pool or EnginePool(layout.config, layout.processes, settings.queue_size)
    admission = Admission(pool, layout.processes + settings.queue_size, settings.max_concurrent_uploads)
    cache = open_cache(settings, layout, pool)
    redis_users = (limits.storage_up, cache.up) if cache else (limits.storage_up,)
    monitor = HealthMonitor(settings, pool, lambda: admission.taken, *redis_users)
    pool.observer = measured = Metrics(settings, pool, monitor.queue_depth, limits.storage_up)
    if cache:
        cache.counted = measured.cache_asked
    app.extensions.update(
        pool=pool,
        cache=cache,
        health=monitor,
        metrics=measured,
        removal=RemovalService(settings, cache or pool, admission),
        fetcher=WeightsFetcher(settings.allowed_models, settings.rembg_home),
        fetcher_url=Fetcher(settings),
        sweeper=Sweeper([settings.output_dir], settings.cleanup_max_age_hours * 3600),
    )


def _add_routes(app: Flask, settings: Settings) -> None:
    """Add what happens around each request, in the order in which it happens, and the routes."""
    from app.http import auth, cors, errors, files, health, limits, metrics, native, rembg, removal, security
    from app.http.openapi import pages
    from app.http.presets import load_presets
    from app.http.removebg import views as removebg
    from app.keys import KeyRing
    from app.observability import logs, request_ids

    measured = app.extensions["metrics"]
    measured.init_app(app)
    request_ids.init_app(app)
    logs.init_app(app)
    security.init_app(app, settings)
    cors.init_app(app, settings)
    errors.init_app(app)
    removal.init_app(app)
    native.init_app(app, load_presets(settings.presets_file))
    removebg.init_app(app)
    rembg.init_app(app)
    auth.init_app(app, KeyRing(settings.api_keys, settings.api_keys_file))  # after what starts the request's clock
    files.init_app(app, settings)
    limits.init_app(app, settings)  # after auth, which says whose request it is
    app.register_blueprint(health.blueprint)
    metrics.init_app(app, settings, measured.exposition)
    pages.init_app(app, settings, app.extensions["presets"])
