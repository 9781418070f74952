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
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from app import auth
    from app.engine.fetcher import WeightsFetcher
    from app.engine.pool import EnginePool
    from app.fetch.fetcher import Fetcher
    from app.http import cors, errors, files, health, metrics, native, rembg, removal, security
    from app.http.admission import Admission
    from app.http.bodies import MemoryRequest
    from app.http.openapi import pages
    from app.http.presets import load_presets
    from app.http.removebg import views as removebg
    from app.layout import engine_layout
    from app.limits import hooks as limits
    from app.limits.rates import RateLimits
    from app.observability import logs, request_ids
    from app.observability.health import HealthMonitor
    from app.observability.metrics import Metrics
    from app.settings import load_settings
    from app.storage import Sweeper

    settings = settings or load_settings()
    layout = engine_layout(settings)
    pool = pool or EnginePool(layout.config, layout.processes, settings.queue_size)
    admission = Admission(pool, layout.processes + settings.queue_size, settings.max_concurrent_uploads)
    rates = RateLimits(settings)
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
    app.extensions["pool"] = pool
    app.extensions["fetcher"] = WeightsFetcher(settings.allowed_models, settings.rembg_home)
    app.extensions["fetcher_url"] = Fetcher(settings)
    app.extensions["sweeper"] = Sweeper([settings.output_dir], settings.cleanup_max_age_hours * 3600)
    app.extensions["health"] = monitor = HealthMonitor(settings, pool, lambda: admission.taken, rates.storage_up)
    app.extensions["metrics"] = measured = Metrics(settings, pool, monitor.queue_depth, rates.storage_up)
    pool.observer = measured
    measured.init_app(app)
    request_ids.init_app(app)
    logs.init_app(app)
    security.init_app(app, settings)
    cors.init_app(app, settings)
    errors.init_app(app)
    removal.init_app(app, removal.RemovalService(settings, pool, admission))
    native.init_app(app, load_presets(settings.presets_file))
    removebg.init_app(app)
    rembg.init_app(app)
    auth.init_app(app, settings)  # after what starts the request's clock
    files.init_app(app, settings)
    limits.init_app(app, settings, rates)  # after auth, which says whose request it is
    app.register_blueprint(health.blueprint)
    metrics.init_app(app, settings, measured.exposition)
    pages.init_app(app, settings, app.extensions["presets"])
    return app
