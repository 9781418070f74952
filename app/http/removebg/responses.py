"""Results in remove.bg's shapes: the picture itself, or JSON that holds it as base64."""

from __future__ import annotations

import base64

from flask import Response
from werkzeug.datastructures import MIMEAccept

from app.http.answers import Base64, Count, JsonModel, json_response
from app.http.headers import REMOVEBG_PICTURE, TYPE, picture_headers
from app.http.removebg.parameters import RemoveBgRequest
from app.http.responses import EXTENSIONS, NO_STORE
from app.removal import RemovalResult

__all__ = ["ACCOUNT", "RemoveBgAccount", "RemoveBgResult", "answer", "wants_json"]

# Nothing is ever charged, so that the balance stays; clients that look at it before they send a photo must find one.
CREDITS = 1_000_000


class RemoveBgCredits(JsonModel):
    """Credits of an account."""

    total: Count
    subscription: Count
    payg: Count
    enterprise: Count


class RemoveBgApi(JsonModel):
    """Free calls of an account, and the sizes that it may ask for."""

    free_calls: Count
    sizes: str


class RemoveBgAttributes(JsonModel):
    """Attributes of an account."""

    credits: RemoveBgCredits
    api: RemoveBgApi


class RemoveBgAccountData(JsonModel):
    """Data of an account."""

    attributes: RemoveBgAttributes


class RemoveBgAccount(JsonModel):
    """The balance, which never shrinks."""

    data: RemoveBgAccountData


class RemoveBgData(JsonModel):
    """An image without its background, and the box of its subject in px."""

    result_b64: Base64
    foreground_top: Count
    foreground_left: Count
    foreground_width: Count
    foreground_height: Count


class RemoveBgResult(JsonModel):
    """The result as JSON."""

    data: RemoveBgData


ACCOUNT = RemoveBgAccount(
    data=RemoveBgAccountData(
        attributes=RemoveBgAttributes(
            credits=RemoveBgCredits(total=CREDITS, subscription=0, payg=CREDITS, enterprise=0),
            # One client refuses any key beyond these.
            api=RemoveBgApi(free_calls=CREDITS, sizes="all"),
        )
    )
)


def wants_json(accept: MIMEAccept) -> bool:
    """Tell whether JSON was asked for, and not just listed among others as some HTTP clients do for every request."""
    types = {str(mimetype).lower() for mimetype, quality in accept if quality > 0}
    return "application/json" in types and not any(name == "*/*" or name.startswith("image/") for name in types)


def answer(result: RemovalResult, parsed: RemoveBgRequest, *, as_json: bool) -> Response:
    """Answer with the picture, and what the headers of this dialect say of it."""
    response = _json(result) if as_json else _binary(result)
    response.headers.update(picture_headers(result, REMOVEBG_PICTURE) | NO_STORE)
    if parsed.wants_type:
        response.headers[TYPE.name] = "other"  # the model knows where the subject is, not what it is
    return response


def _binary(result: RemovalResult) -> Response:
    response = Response(result.body, mimetype=result.mimetype)
    response.headers["Content-Disposition"] = f"attachment; filename=no-bg.{EXTENSIONS[result.mimetype]}"
    return response


def _json(result: RemovalResult) -> Response:
    box = result.foreground
    data = RemoveBgData(
        result_b64=base64.b64encode(result.body).decode("ascii"),
        foreground_top=box.top,
        foreground_left=box.left,
        foreground_width=box.width,
        foreground_height=box.height,
    )
    return json_response(RemoveBgResult(data=data))
