"""Requests in remove.bg's dialect."""

from __future__ import annotations

import base64
import io
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.removal import Canvas, RemovalOptions
from tests.support.photos import jpeg

__all__ = ["BASE64", "DEFAULTS", "PHOTO", "PREVIEW", "URL", "failure", "post", "upload"]

URL = "/v1.0/removebg"
PHOTO = jpeg("coffee")
BASE64 = base64.b64encode(PHOTO).decode()
PREVIEW = 250_000
DEFAULTS = RemovalOptions(
    "auto",
    2048,
    full_size=True,
    format="AUTO",
    require_foreground=True,
    canvas=Canvas(PREVIEW),
    clean_mask=True,
)


def upload(image: bytes = PHOTO, name: str = "photo.jpg") -> tuple[io.BytesIO, str]:
    return io.BytesIO(image), name


def post(client: FlaskClient, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
    return client.post(URL, data={"image_file": upload(), **fields}, headers=headers)


def failure(response: TestResponse) -> tuple[int, str]:
    (error,) = response.json["errors"]  # type: ignore[index]
    return response.status_code, error["code"]
