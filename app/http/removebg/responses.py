"""Results in remove.bg's shapes: the picture itself, or JSON that holds it as base64."""

from __future__ import annotations

import base64

from flask import Response, jsonify
from werkzeug.datastructures import MIMEAccept

from app.http.headers import REMOVEBG_PICTURE, TYPE, picture_headers
from app.http.removebg.parameters import Wishes
from app.http.responses import EXTENSIONS, NO_STORE
from app.removal import RemovalResult

__all__ = ["ACCOUNT", "answer", "wants_json"]

# Nothing is ever charged, so that the balance stays; clients that look at it before they send a photo must find one.
CREDITS = 1_000_000
# One client refuses any key beyond these.
ACCOUNT = {
    "data": {
        "attributes": {
            "credits": {"total": CREDITS, "subscription": 0, "payg": CREDITS, "enterprise": 0},
            "api": {"free_calls": CREDITS, "sizes": "all"},
        }
    }
}


def wants_json(accept: MIMEAccept) -> bool:
    """Tell whether JSON was asked for, and not just listed among others as some HTTP clients do for every request."""
    types = {str(mimetype).lower() for mimetype, quality in accept if quality > 0}
    return "application/json" in types and not any(name == "*/*" or name.startswith("image/") for name in types)


def answer(result: RemovalResult, wishes: Wishes, *, as_json: bool) -> Response:
    """Answer with the picture, and what the headers of this dialect say of it."""
    response = _json(result) if as_json else _binary(result)
    response.headers.update(picture_headers(result, REMOVEBG_PICTURE) | NO_STORE)
    if wishes.wants_type:
        response.headers[TYPE.name] = "other"  # the model knows where the subject is, not what it is
    return response


def _binary(result: RemovalResult) -> Response:
    response = Response(result.body, mimetype=result.mimetype)
    response.headers["Content-Disposition"] = f"attachment; filename=no-bg.{EXTENSIONS[result.mimetype]}"
    return response


def _json(result: RemovalResult) -> Response:
    box = result.foreground
    return jsonify(
        {
            "data": {
                "result_b64": base64.b64encode(result.body).decode("ascii"),
                "foreground_top": box.top,
                "foreground_left": box.left,
                "foreground_width": box.width,
                "foreground_height": box.height,
            }
        }
    )
