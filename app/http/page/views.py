"""`/`, the web page, and `/assets`, its style, scripts and pictures."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request

from app.errors import NotFound
from app.http.auth import public
from app.http.limits import limiter
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
HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
# Words for the models that people know least; others are listed by name.
MODEL_LABELS = {
    "auto": "Automatic",
    "lite": "Fast (lite)",
    "u2netp": "Thorough (u2netp)",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    compressed: bytes
    mimetype: str


def init_app(app: Flask, settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> None:
    """Serve the page for these settings and presets."""
    blueprint = Blueprint("page", __name__, template_folder="templates")
    assets = _read_assets()
    digest = _digest(assets)
    config = page_config(settings, presets)

    @blueprint.get("/")
    @limiter.exempt
    @public
    def page() -> Response:
        """Answer with the page."""
        response = Response(render_template("page.html", assets=f"/assets/{digest}", config=config))
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        response.add_etag()
        response.make_conditional(request)
        return response

    @blueprint.get("/assets/<version>/<name>")
    @limiter.exempt
    @public
    def asset(version: str, name: str) -> Response:
        """Answer with a file of the page; its address changes with its content."""
        found = assets.get(name)
        if found is None or version != digest:
            raise NotFound()
        return _compressed(found) if request.accept_encodings["gzip"] else _plain(found)

    app.register_blueprint(blueprint)


def page_config(settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what the page must know of this server: models, presets, whether it needs a key and fetches URLs."""
    return {
        "models": [{"name": name, "label": MODEL_LABELS.get(name, name)} for name in settings.allowed_models],
        "model": settings.model_name,
        "presets": {name: dict(fields) for name, fields in presets.items()},
        "urls": settings.allow_url_fetch,
        "key": bool(settings.api_keys or settings.api_keys_file),
    }


def _read_assets() -> dict[str, _Asset]:
    return {path.name: _asset(path.name, path.read_bytes()) for path in sorted(ASSETS.iterdir())}


def _asset(name: str, body: bytes) -> _Asset:
    return _Asset(body, gzip.compress(body, mtime=0), _mimetype(name))


def _plain(asset: _Asset) -> Response:
    return Response(asset.body, mimetype=asset.mimetype, headers=HEADERS)


def _compressed(asset: _Asset) -> Response:
    return Response(asset.compressed, mimetype=asset.mimetype, headers=HEADERS | {"Content-Encoding": "gzip"})


def _mimetype(name: str) -> str:
    if name.endswith(".js"):
        return "text/javascript"  # mimetypes reads the system's table, where it may be another
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _digest(assets: Mapping[str, _Asset]) -> str:
    """Return one version for all files: modules import each other by relative address."""
    digest = hashlib.sha256()
    for name, asset in assets.items():
        digest.update(name.encode() + b"\0" + asset.body + b"\0")
    return digest.hexdigest()[:16]
