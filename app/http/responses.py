"""Results to responses: bodies and headers."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from flask import Response, jsonify

from app.imaging.formats import sniff
from app.removal import RemovalOptions, RemovalResult

__all__ = [
    "base64_response",
    "image_response",
    "name_ignored",
    "original_base64_response",
    "original_response",
    "picture_headers",
]

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "application/zip": "zip"}
MOST_IGNORED_NAMES = 20
FALLBACK = {"X-Fallback": "original", "Cache-Control": "no-store"}


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
    body: dict[str, Any] = {
        "success": True,
        "image": base64.b64encode(result.body).decode("ascii"),
        "mimetype": result.mimetype,
        "size": len(result.body),
        "optimization": {
            "format": options.format,
            "quality": options.quality,
            "dimensions": f"{result.width}x{result.height}",
            "original_size": original_size,
            "compression_ratio": f"{round(100 * (1 - len(result.body) / original_size))}%",
        },
        "foreground": {"top": box.top, "left": box.left, "width": box.width, "height": box.height},
        "confidence": result.confidence,
        "model": result.model,
        "request_id": request_id,
    }
    response = jsonify(body)
    response.headers.update(_native_headers(result, options, original_size))
    return response


def original_response(image: bytes, *, attachment: bool) -> Response:
    """Answer with the original image, where the caller prefers it to an error."""
    name = sniff(image) or "PNG"
    response = Response(image, mimetype=f"image/{name.lower()}")
    kind = "attachment" if attachment else "inline"
    response.headers["Content-Disposition"] = f"{kind}; filename=original.{name.lower()}"
    response.headers.update(FALLBACK)
    return response


def original_base64_response(image: bytes, request_id: str) -> Response:
    """Answer with JSON that holds the original image."""
    body = {
        "success": False,
        "fallback": "original",
        "image": base64.b64encode(image).decode("ascii"),
        "mimetype": f"image/{(sniff(image) or 'PNG').lower()}",
        "size": len(image),
        "request_id": request_id,
    }
    response = jsonify(body)
    response.headers.update(FALLBACK)
    return response


def picture_headers(result: RemovalResult) -> dict[str, str]:
    """Return what the headers say of a result in every dialect."""
    box = result.foreground
    return {
        "X-Width": str(result.width),
        "X-Height": str(result.height),
        "X-Foreground-Top": str(box.top),
        "X-Foreground-Left": str(box.left),
        "X-Foreground-Width": str(box.width),
        "X-Foreground-Height": str(box.height),
        "X-Confidence": f"{result.confidence:.3f}",
        "X-Model": result.model,
        "Server-Timing": ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in result.stages_ms.items()),
        "Cache-Control": "no-store",
        **({"X-Cache": result.cache} if result.cache else {}),
    }


def _native_headers(result: RemovalResult, options: RemovalOptions, original_size: int) -> dict[str, str]:
    matting = {} if result.matting_scale is None else {"X-Matting-Scale": f"{result.matting_scale:.2f}"}
    return matting | {
        "X-Optimization-Used": f"format={options.format}; quality={options.quality}; refine={options.refine}",
        "X-Original-Size": str(original_size),
        "X-Optimized-Size": str(len(result.body)),
        **picture_headers(result),
    }


def name_ignored(response: Response, names: Iterable[str]) -> Response:
    """List the parameters that were not known, so that a typing error is noticed."""
    quoted = [quote(name[:64], safe="") for name in sorted(set(names))]
    if quoted:
        response.headers["X-Ignored-Params"] = ", ".join(quoted[:MOST_IGNORED_NAMES])
    return response
