"""`/openapi.json`, and `/docs`: Swagger UI with the files of a package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, render_template

from app.http.auth import public
from app.http.limits import limiter
from app.http.openapi.document import describe
from app.http.versioned_files import serve_files
from app.settings import Settings

__all__ = ["init_app"]

PACKAGE = "flask-swagger-ui"
OWN = Path(__file__).parent / "assets"
# The style sheet has pictures as data:, and answers are shown from blob: addresses.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def init_app(app: Flask, settings: Settings, presets: Mapping[str, Mapping[str, str]]) -> None:
    """Serve the description of the API for these settings and presets."""
    blueprint = Blueprint("openapi", __name__, template_folder="templates")
    files = serve_files(blueprint, "/docs", _files())

    @cache
    def document() -> dict[str, Any]:
        return describe(settings, presets)

    @blueprint.get("/openapi.json")
    @limiter.exempt
    @public
    def openapi() -> Response:
        """Answer with the OpenAPI document."""
        return Response(json.dumps(document(), ensure_ascii=False), mimetype="application/json")

    @blueprint.get("/docs")
    @limiter.exempt
    @public
    def docs() -> Response:
        """Answer with the HTML page."""
        page = render_template("docs.html", settings=settings, files=files)
        return Response(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    app.register_blueprint(blueprint)


def _files() -> list[Path]:
    """Return the files of the page; the package is found without its import."""
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is missing: pip install -r requirements.txt")
    theirs = Path(found.origin).parent / "dist"
    names = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
    return [*(theirs / name for name in names), *OWN.iterdir()]
