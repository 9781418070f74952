"""Response headers of the service, each declared once.

CORS, OpenAPI and the answers use these tables; a test compares them with docs/api.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.removal import MIN_CONFIDENCE, RemovalResult

__all__ = [
    "CONTENT_DISPOSITION",
    "ETAG",
    "FALLBACK",
    "HEADERS",
    "IGNORED_PARAMS",
    "LOCATION",
    "NATIVE_PICTURE",
    "OPTIMIZATION_USED",
    "ORIGINAL_SIZE",
    "PICTURE",
    "RATE_LIMIT",
    "RATE_LIMIT_REMAINING",
    "REMOVEBG_PICTURE",
    "REQUEST_ID",
    "RETRY_AFTER",
    "SAVED_AS",
    "TYPE",
    "ResponseHeader",
    "picture_headers",
]

_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """A header: name, JSON schema of its value, description.

    `value` computes the header from a result alone; an empty value omits the header.
    """

    name: str
    schema: Mapping[str, Any]
    help: str
    value: Callable[[RemovalResult], str] | None = None


REQUEST_ID = ResponseHeader(
    "X-Request-ID",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "Id of the request: the client's own if it is valid, else a new one.",
)
RETRY_AFTER = ResponseHeader("Retry-After", _COUNT, "Seconds to wait before retrying.")
RATE_LIMIT_LIMIT = ResponseHeader("X-RateLimit-Limit", _COUNT, "Limit of requests or megapixels per period.")
RATE_LIMIT_REMAINING = ResponseHeader("X-RateLimit-Remaining", _COUNT, "Remaining requests or megapixels.")
RATE_LIMIT_RESET = ResponseHeader("X-RateLimit-Reset", _COUNT, "Reset time of the limit, Unix seconds.")
RATE_LIMIT = (RATE_LIMIT_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET)
IGNORED_PARAMS = ResponseHeader(
    "X-Ignored-Params", _TEXT, "Names of unknown parameters and of parameters without effect, separated by commas."
)

CONTENT_DISPOSITION = ResponseHeader(
    "Content-Disposition", _TEXT, "File name of the answer, from that of the upload; absent from JSON."
)

# Headers of results in every dialect; a header added here is sent, exposed by CORS and documented in OpenAPI.
PICTURE = (
    ResponseHeader("X-Width", _COUNT, "Width of the answer, px.", lambda result: str(result.width)),
    ResponseHeader("X-Height", _COUNT, "Height of the answer, px.", lambda result: str(result.height)),
    ResponseHeader(
        "X-Scaled-From",
        {"type": "string", "pattern": "^[0-9]+x[0-9]+$"},
        "Upright size of the photo, if the answer is smaller for another reason than the caller's bounds.",
        lambda result: "{}x{}".format(*result.input_size) if result.scaled_down else "",
    ),
    ResponseHeader(
        "X-Foreground-Top",
        _COUNT,
        "Top of the subject's bounding box in the answer, px; all four are 0 without a subject.",
        lambda result: str(result.foreground.top),
    ),
    ResponseHeader(
        "X-Foreground-Left",
        _COUNT,
        "Left of the subject's bounding box, px.",
        lambda result: str(result.foreground.left),
    ),
    ResponseHeader(
        "X-Foreground-Width",
        _COUNT,
        "Width of the subject's bounding box, px.",
        lambda result: str(result.foreground.width),
    ),
    ResponseHeader(
        "X-Foreground-Height",
        _COUNT,
        "Height of the subject's bounding box, px.",
        lambda result: str(result.foreground.height),
    ),
    ResponseHeader(
        "X-Confidence",
        {"type": "number", "minimum": 0, "maximum": 1},
        f"Confidence of the model in the subject; below {MIN_CONFIDENCE} there is none.",
        lambda result: f"{result.confidence:.3f}",
    ),
    ResponseHeader(
        "X-Model",
        _TEXT,
        "Models of the mask, joined by +; with `; reason=load` where auto left out u2netp because of the load.",
        lambda result: f"{result.model}; reason=load" if result.under_load else result.model,
    ),
    ResponseHeader(
        "X-Cache",
        {"type": "string", "enum": ["hit", "miss"]},
        "hit: from the result cache; miss: computed now; absent without a cache.",
        lambda result: result.cache,
    ),
    ResponseHeader(
        "Server-Timing",
        _TEXT,
        "Milliseconds of each stage: queue, decode, infer, second_infer (u2netp of auto), cutout, encode.",
        lambda result: ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in result.stages_ms.items()),
    ),
    CONTENT_DISPOSITION,
    IGNORED_PARAMS,
    *RATE_LIMIT,
)

OPTIMIZATION_USED = ResponseHeader("X-Optimization-Used", _TEXT, "Format, quality and refinement of the answer.")
ORIGINAL_SIZE = ResponseHeader("X-Original-Size", _COUNT, "Bytes of the uploaded image.")
NATIVE_PICTURE = (
    *PICTURE,
    OPTIMIZATION_USED,
    ResponseHeader(
        "X-Matting-Scale",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "Scale at which matting was computed; below 1 to save memory or time.",
        lambda result: "" if result.matting_scale is None else f"{result.matting_scale:.2f}",
    ),
    ORIGINAL_SIZE,
    ResponseHeader("X-Optimized-Size", _COUNT, "Bytes of the answer.", lambda result: str(len(result.body))),
)
FALLBACK = ResponseHeader(
    "X-Fallback",
    {"type": "string", "enum": ["original"]},
    "original: the removal failed, and this is the uploaded image.",
)
SAVED_AS = ResponseHeader("X-Saved-As", _TEXT, "Name of the file in OUTPUT_DIR.")

LOCATION = ResponseHeader("Location", _TEXT, "Path of the job that was made.")
ETAG = ResponseHeader("ETag", _TEXT, "SHA-256 of a job's result, for If-None-Match.")

TYPE = ResponseHeader("X-Type", {"type": "string", "enum": ["other"]}, "Type of the subject; always other.")
REMOVEBG_PICTURE = (
    *PICTURE,
    ResponseHeader(
        "X-Max-Width",
        _COUNT,
        "Width of the answer at the largest `size`, px.",
        lambda result: str(result.max_size[0]),
    ),
    ResponseHeader(
        "X-Max-Height",
        _COUNT,
        "Height of the answer at the largest `size`, px.",
        lambda result: str(result.max_size[1]),
    ),
    TYPE,
    ResponseHeader("X-Credits-Charged", _COUNT, "Always 0.", lambda _: "0"),
)

HEADERS = {
    header.name: header
    for header in (
        REQUEST_ID,
        *NATIVE_PICTURE,
        FALLBACK,
        SAVED_AS,
        *REMOVEBG_PICTURE,
        LOCATION,
        ETAG,
        RETRY_AFTER,
    )
}


def picture_headers(result: RemovalResult, headers: Iterable[ResponseHeader] = PICTURE) -> dict[str, str]:
    """Return the headers that depend on the result alone."""
    return {header.name: value for header in headers if header.value and (value := header.value(result))}
