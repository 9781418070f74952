"""Results in remove.bg's shapes: the picture, or JSON with base64."""

from __future__ import annotations

import base64

from flask import Response
from werkzeug.datastructures import MIMEAccept

from app.file_names import EXTENSIONS
from app.http.answers import Base64, Count, JsonModel, json_response
from app.http.headers import REMOVEBG_PICTURE, TYPE, picture_headers
from app.http.removebg.parameters import RemoveBgRequest
from app.http.responses import NO_STORE
from app.removal import RemovalResult

__all__ = ["ACCOUNT", "RemoveBgAccount", "RemoveBgResult", "answer", "wants_json"]

# A constant balance, for clients that check it before they send a photo.
CREDITS = 1_000_000


class RemoveBgCredits(JsonModel):
    """Credits of an account."""

    total: Count
    subscription: Count
    payg: Count
    enterprise: Count


class RemoveBgApi(JsonModel):
    """Free calls of an account, and its allowed sizes."""

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
    """Credit balance, which is constant."""

    data: RemoveBgAccountData


class RemoveBgData(JsonModel):
    """An image without its background, and the bounding box of its subject, px."""

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
            # One client rejects additional keys.
            api=RemoveBgApi(free_calls=CREDITS, sizes="all"),
        )
    )
)


def wants_json(accept: MIMEAccept) -> bool:
    """Return whether the client asks for JSON, without images or */* beside it as HTTP clients send by default."""
    types = {str(mimetype).lower() for mimetype, quality in accept if quality > 0}
    return "application/json" in types and not any(name == "*/*" or name.startswith("image/") for name in types)


def answer(result: RemovalResult, parsed: RemoveBgRequest, *, as_json: bool) -> Response:
    """Answer with the result and the headers of this dialect."""
    response = _json(result) if as_json else _binary(result)
    response.headers.update(picture_headers(result, REMOVEBG_PICTURE) | NO_STORE)
    if parsed.wants_type:
        response.headers[TYPE.name] = "other"  # the model does not classify subjects
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
