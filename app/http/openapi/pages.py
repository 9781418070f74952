"""`/openapi.json` and `/docs`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection
from functools import cache
from typing import Any

from flask import Blueprint, Flask, Response, render_template
from markupsafe import Markup, escape

from app.http.auth import public
from app.http.limits import limiter
from app.http.openapi.document import describe
from app.settings import Settings

__all__ = ["init_app"]

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h2 { margin-top: 3rem; border-bottom: 1px solid; }
h3 { margin-top: 2rem; font-family: ui-monospace, monospace; }
table { width: 100%; border-collapse: collapse; margin: .5rem 0 1rem; font-size: .9rem; }
th, td { padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.preline { white-space: pre-line; }
"""
# No scripts, and no other style than STYLE.
POLICY = "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def init_app(app: Flask, settings: Settings, presets: Collection[str]) -> None:
    """Serve the description of the API for these settings and presets."""
    blueprint = Blueprint("openapi", __name__, template_folder="templates")
    blueprint.add_app_template_filter(with_code, "with_code")
    blueprint.add_app_template_filter(allowed, "allowed")

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
        page = render_template("docs.html", document=document(), style=Markup(STYLE))  # noqa: S704  # our own text
        return Response(page, headers={"Content-Security-Policy": POLICY.format(_digest(STYLE))})

    app.register_blueprint(blueprint)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def with_code(text: str) -> Markup:
    """Return a text as HTML; `code` and **bold** are rendered."""
    bold = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", bold))  # noqa: S704  # escaped before


def allowed(schema: dict[str, Any]) -> str:
    """Return a short text for the values that a schema allows."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "minimum" in schema:
        return f"{schema['minimum']}–{schema['maximum']}" if "maximum" in schema else f"from {schema['minimum']}"
    if schema.get("format") == "binary":
        return "file"
    kind = schema.get("contentEncoding") or schema.get("type", "object")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
