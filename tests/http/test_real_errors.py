"""Errors of a real engine, over HTTP."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from app.engine.pool import EnginePool
from app.http.factory import build_app
from app.settings import Settings
from tests.support.configuration import NO_LIMITS
from tests.support.photos import encoded, jpeg
from tests.support.synthetic_images import png

GREY = encoded(Image.new("RGB", (320, 240), (120, 130, 140)))
CASES = {
    "truncated": (jpeg()[:3000], "", 422, "CORRUPT_IMAGE"),
    "garbage after a signature": (b"\x89PNG\r\n\x1a\n" + b"x" * 500, "", 422, "CORRUPT_IMAGE"),
    "30,000 x 30,000 in 40 kB": (png((30_000, 30_000), bytes(40_000)), "", 413, "TOO_MANY_PIXELS"),
    "over MAX_PIXELS and not scalable": (png((6_000, 6_000), bytes(40_000)), "", 413, "TOO_MANY_PIXELS"),
    "no subject": (GREY, "require_foreground=true", 422, "UNKNOWN_FOREGROUND"),
    "model without weights": (jpeg(), "model=silueta", 503, "MODEL_UNAVAILABLE"),
}


@pytest.fixture(scope="module")
def app(pool: EnginePool) -> Flask:
    return build_app(Settings(models_allowed=("silueta",), **NO_LIMITS), lambda *_: pool)


@pytest.mark.parametrize(("image", "query", "status", "code"), CASES.values(), ids=CASES.keys())
def test_an_engines_error_reaches_the_client(image: bytes, query: str, status: int, code: str, app: Flask) -> None:
    response = app.test_client().post(f"/remove-background?{query}", data=image)
    assert (response.status_code, response.json["code"]) == (status, code)  # type: ignore[index]


def test_missing_weights_are_reported_with_the_download_command(app: Flask) -> None:
    response = app.test_client().post("/remove-background?model=silueta", data=jpeg())
    assert "python -m app models pull silueta" in response.json["solution"]  # type: ignore[index]


def test_a_valid_photo_works_after_all_errors(client: FlaskClient) -> None:
    assert client.post("/remove-background", data=jpeg()).status_code == 200
