"""Results to responses: bodies and headers."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote

from flask import Response

from app.http.answers import EncodedImage, Foreground, Optimization, json_response
from app.http.headers import (
    FALLBACK,
    IGNORED_PARAMS,
    NATIVE_PICTURE,
    OPTIMIZATION_USED,
    ORIGINAL_SIZE,
    picture_headers,
)
from app.imaging.formats import sniff
from app.removal import RemovalOptions, RemovalResult

__all__ = [
    "EXTENSIONS",
    "NO_STORE",
    "base64_response",
    "image_response",
    "name_ignored",
    "original_base64_response",
    "original_response",
]

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "application/zip": "zip"}
MOST_IGNORED_NAMES = 20
NO_STORE = {"Cache-Control": "no-store"}
ORIGINAL = {FALLBACK.name: "original"} | NO_STORE


def image_response(result: RemovalResult, options: RemovalOptions, original_size: int, *, attachment: bool) -> Response:
    """Answer with the image itself, to be saved or to be shown."""
    response = Response(result.body, mimetype=result.mimetype)
    kind = "attachment" if attachment else "inline"
    response.headers["Content-Disposition"] = f"{kind}; filename=background-removed.{EXTENSIONS[result.mimetype]}"
    response.headers.update(_native_headers(result, options, original_size))
    return response


def base64_response(result: RemovalResult, options: RemovalOptions, original_size: int, request_id: str) -> Response:
    """Answer with JSON that holds the image as base64."""
    box = result.foreground
    answer = EncodedImage(
        success=True,
        image=base64.b64encode(result.body).decode("ascii"),
        mimetype=result.mimetype,
        size=len(result.body),
        optimization=Optimization(
            format=options.format,
            quality=options.quality,
            dimensions=f"{result.width}x{result.height}",
            original_size=original_size,
            compression_ratio=f"{round(100 * (1 - len(result.body) / original_size))}%",
        ),
        foreground=Foreground(top=box.top, left=box.left, width=box.width, height=box.height),
        confidence=result.confidence,
        model=result.model,
        request_id=request_id,
    )
    response = json_response(answer)
    response.headers.update(_native_headers(result, options, original_size))
    return response


def original_response(image: bytes, *, attachment: bool) -> Response:
    """Answer with the original image, where the caller prefers it to an error."""
    name = sniff(image) or "PNG"
    response = Response(image, mimetype=f"image/{name.lower()}")
    kind = "attachment" if attachment else "inline"
    response.headers["Content-Disposition"] = f"{kind}; filename=original.{name.lower()}"
    response.headers.update(ORIGINAL)
    return response


def original_base64_response(image: bytes, request_id: str) -> Response:
    """Answer with JSON that holds the original image."""
    answer = EncodedImage(
        success=False,
        fallback="original",
        image=base64.b64encode(image).decode("ascii"),
        mimetype=f"image/{(sniff(image) or 'PNG').lower()}",
        size=len(image),
        request_id=request_id,
    )
    response = json_response(answer)
    response.headers.update(ORIGINAL)
    return response


def _native_headers(result: RemovalResult, options: RemovalOptions, original_size: int) -> dict[str, str]:
    return {
        **picture_headers(result, NATIVE_PICTURE),
        OPTIMIZATION_USED.name: f"format={options.format}; quality={options.quality}; refine={options.refine}",
        ORIGINAL_SIZE.name: str(original_size),
        **NO_STORE,
    }


def name_ignored(response: Response, names: Iterable[str]) -> Response:
    """List the parameters that were not known, so that a typing error is noticed."""
    quoted = [quote(name[:64], safe="") for name in sorted(set(names))]
    if quoted:
        response.headers[IGNORED_PARAMS.name] = ", ".join(quoted[:MOST_IGNORED_NAMES])
    return response
