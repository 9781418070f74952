"""`/`, the web page, and `/assets`, its style, scripts and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request

from app.http.auth import public
from app.http.limits import limiter
from app.http.versioned_files import serve_files
from app.settings import Settings

__all__ = ["init_app"]

ASSETS = Path(__file__).parent / "assets"
# Everything comes from this server; blob: and data: are pictures that the page itself makes.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
MODEL_LABELS = {
    "auto": "Automatic",
    "lite": "Fast (lite)",
    "u2netp": "Thorough (u2netp)",
    "u2net": "Thorough, slower (u2net)",
    "u2net_human_seg": "People (u2net_human_seg)",
    "silueta": "Simple subjects (silueta)",
    "isnet-general-use": "Better, slow (isnet-general-use)",
    "isnet-anime": "Drawn figures (isnet-anime)",
    "birefnet-general": "Best, very slow (birefnet-general)",
    "birefnet-general-lite": "Better, slow (birefnet-general-lite)",
    "birefnet-portrait": "People, very slow (birefnet-portrait)",
    "birefnet-dis": "Fine structures, very slow (birefnet-dis)",
    "birefnet-hrsod": "Large photos, very slow (birefnet-hrsod)",
    "birefnet-cod": "Camouflaged subjects, very slow (birefnet-cod)",
    "birefnet-massive": "All kinds, very slow (birefnet-massive)",
    "bria-rmbg": "Best, very slow (bria-rmbg)",
}


def init_app(app: Flask, settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> None:
    """Serve the page for these settings and presets."""
    blueprint = Blueprint("page", __name__, template_folder="templates")
    assets = serve_files(blueprint, "/assets", ASSETS.iterdir())
    config = page_config(settings, presets)

    @blueprint.get("/")
    @limiter.exempt
    @public
    def page() -> Response:
        """Answer with the page."""
        response = Response(render_template("page.html", assets=assets, config=config))
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        response.add_etag()
        response.make_conditional(request)
        return response

    app.register_blueprint(blueprint)


def page_config(settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what the page must know of this server: models, presets, access, limits of jobs."""
    return {
        "models": [{"name": name, "label": MODEL_LABELS[name]} for name in settings.allowed_models],
        "model": settings.model_name,
        "presets": {name: dict(fields) for name, fields in presets.items()},
        "side": settings.max_dimension,
        "urls": settings.allow_url_fetch,
        "key": bool(settings.api_keys or settings.api_keys_file),
        "jobs": None if settings.jobs_backend == "off" else _limits_of_jobs(settings),
    }


def _limits_of_jobs(settings: Settings) -> dict[str, Any]:
    """Return the limits of one job, and in words how long its results are kept."""
    hours = settings.jobs_ttl / 3600
    kept = f"{hours:.0f} hours" if hours >= 1.5 else f"{hours * 60:.0f} minutes"
    return {"files": settings.jobs_max_files, "bytes": settings.jobs_max_bytes, "kept": kept}
