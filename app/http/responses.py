"""Responses with results: bodies and headers."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote

from flask import Response

from app.file_names import EXTENSIONS
from app.http.answers import EncodedImage, Foreground, Optimization, json_response
from app.http.dispositions import content_disposition
from app.http.headers import (
    CONTENT_DISPOSITION,
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
    "NO_STORE",
    "base64_response",
    "image_response",
    "name_ignored",
    "original_base64_response",
    "original_response",
]

# Some proxies buffer all headers of a response in 4 kB.
MAX_IGNORED_BYTES = 1000
MAX_NAME_LENGTH = 64
NO_STORE = {"Cache-Control": "no-store"}
ORIGINAL = {FALLBACK.name: "original"} | NO_STORE


def image_response(
    result: RemovalResult, options: RemovalOptions, original_size: int, *, attachment: bool, upload_name: str
) -> Response:
    """Return a response with the image itself, as an attachment or inline, named after the upload."""
    response = Response(result.body, mimetype=result.mimetype)
    kind = "attachment" if attachment else "inline"
    response.headers[CONTENT_DISPOSITION.name] = content_disposition(
        kind, upload_name, EXTENSIONS[result.mimetype], default="background-removed"
    )
    response.headers.update(_native_headers(result, options, original_size))
    return response


def base64_response(result: RemovalResult, options: RemovalOptions, original_size: int, request_id: str) -> Response:
    """Return a JSON response with the image as base64."""
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


def original_response(image: bytes, *, attachment: bool, upload_name: str) -> Response:
    """Return a response with the original image, for callers that prefer it to an error."""
    name = sniff(image) or "PNG"
    response = Response(image, mimetype=f"image/{name.lower()}")
    kind = "attachment" if attachment else "inline"
    response.headers[CONTENT_DISPOSITION.name] = content_disposition(
        kind, upload_name, name.lower(), default="original"
    )
    response.headers.update(ORIGINAL)
    return response


def original_base64_response(image: bytes, request_id: str) -> Response:
    """Return a JSON response with the original image as base64."""
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
    """List parameters without effect in a header; "…" (percent-encoded) stands for names that do not fit."""
    ignored = _header_list(sorted(set(names)))
    if ignored:
        response.headers[IGNORED_PARAMS.name] = ignored
    return response


def _header_list(names: Iterable[str]) -> str:
    listed, length = list[str](), 0
    for name in names:
        encoded = quote(name[:MAX_NAME_LENGTH], safe="", errors="replace")
        length += len(encoded) + len(", ")
        if length > MAX_IGNORED_BYTES:
            return ", ".join([*listed, quote("…")])
        listed.append(encoded)
    return ", ".join(listed)
