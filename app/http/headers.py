"""The service's own response headers: each is declared here, once.

CORS, OpenAPI and the answers are derived from these tables; docs/api.md explains each header, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.removal import RemovalResult

__all__ = [
    "FALLBACK",
    "HEADERS",
    "IGNORED_PARAMS",
    "NATIVE_PICTURE",
    "OPTIMIZATION_USED",
    "ORIGINAL_SIZE",
    "PICTURE",
    "RATE_LIMIT",
    "RATE_LIMIT_LIMIT",
    "RATE_LIMIT_REMAINING",
    "RATE_LIMIT_RESET",
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
    """A header, the JSON schema of its value and its meaning.

    `value` computes it from a result alone; a header whose value is empty is left out of the answer.
    """

    name: str
    schema: Mapping[str, Any]
    help: str
    value: Callable[[RemovalResult], str] | None = None


REQUEST_ID = ResponseHeader(
    "X-Request-ID",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "The request's id: yours, where you sent one of this form, else a new one.",
)
RETRY_AFTER = ResponseHeader("Retry-After", _COUNT, "Whole seconds after which to try again.")
RATE_LIMIT_LIMIT = ResponseHeader("X-RateLimit-Limit", _COUNT, "Limit of requests or megapixels per period.")
RATE_LIMIT_REMAINING = ResponseHeader("X-RateLimit-Remaining", _COUNT, "How much of the limit is left.")
RATE_LIMIT_RESET = ResponseHeader("X-RateLimit-Reset", _COUNT, "When the count starts anew, Unix seconds.")
RATE_LIMIT = (RATE_LIMIT_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET)
IGNORED_PARAMS = ResponseHeader(
    "X-Ignored-Params", _TEXT, "Names of parameters that were not used, separated by commas."
)

# Headers of a result in every dialect: a header added here is sent, exposed and described.
PICTURE = (
    ResponseHeader("X-Width", _COUNT, "Width of the answer, px.", lambda result: str(result.width)),
    ResponseHeader("X-Height", _COUNT, "Height of the answer, px.", lambda result: str(result.height)),
    ResponseHeader(
        "X-Foreground-Top",
        _COUNT,
        "Top of the subject's box in the answer, px; the box is all 0 when there is none.",
        lambda result: str(result.foreground.top),
    ),
    ResponseHeader(
        "X-Foreground-Left", _COUNT, "Left of the subject's box, px.", lambda result: str(result.foreground.left)
    ),
    ResponseHeader(
        "X-Foreground-Width", _COUNT, "Width of the subject's box, px.", lambda result: str(result.foreground.width)
    ),
    ResponseHeader(
        "X-Foreground-Height", _COUNT, "Height of the subject's box, px.", lambda result: str(result.foreground.height)
    ),
    ResponseHeader(
        "X-Confidence",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Confidence of the model in the subject; under 0.5 it sees none.",
        lambda result: f"{result.confidence:.3f}",
    ),
    ResponseHeader("X-Model", _TEXT, "The model that was used.", lambda result: result.model),
    ResponseHeader(
        "X-Cache",
        {"type": "string", "enum": ["hit", "miss"]},
        "Whether the result was kept from an earlier request; absent where results are not kept.",
        lambda result: result.cache,
    ),
    ResponseHeader(
        "Server-Timing",
        _TEXT,
        "Milliseconds of queue, decode, infer, cutout and encode.",
        lambda result: ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in result.stages_ms.items()),
    ),
    IGNORED_PARAMS,
    *RATE_LIMIT,
)

OPTIMIZATION_USED = ResponseHeader("X-Optimization-Used", _TEXT, "Format, quality and refinement of the answer.")
ORIGINAL_SIZE = ResponseHeader("X-Original-Size", _COUNT, "Bytes of the image sent.")
NATIVE_PICTURE = (
    *PICTURE,
    OPTIMIZATION_USED,
    ResponseHeader(
        "X-Matting-Scale",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "Scale at which matting was solved: under 1 where it would have taken too much memory or time.",
        lambda result: "" if result.matting_scale is None else f"{result.matting_scale:.2f}",
    ),
    ORIGINAL_SIZE,
    ResponseHeader("X-Optimized-Size", _COUNT, "Bytes of the answer.", lambda result: str(len(result.body))),
)
FALLBACK = ResponseHeader(
    "X-Fallback",
    {"type": "string", "enum": ["original"]},
    "This is the image as it was sent, since removing its background failed.",
)
SAVED_AS = ResponseHeader("X-Saved-As", _TEXT, "Name of the file in OUTPUT_DIR.")

TYPE = ResponseHeader("X-Type", {"type": "string", "enum": ["other"]}, "Kind of subject, as far as it is known.")
REMOVEBG_PICTURE = (
    *PICTURE,
    ResponseHeader(
        "X-Max-Width",
        _COUNT,
        "Width that the answer could have had at the largest `size`, px.",
        lambda result: str(result.max_size[0]),
    ),
    ResponseHeader(
        "X-Max-Height",
        _COUNT,
        "Height that the answer could have had at the largest `size`, px.",
        lambda result: str(result.max_size[1]),
    ),
    TYPE,
    ResponseHeader("X-Credits-Charged", _COUNT, "Always 0.", lambda _: "0"),
)

HEADERS = {
    header.name: header for header in (REQUEST_ID, *NATIVE_PICTURE, FALLBACK, SAVED_AS, *REMOVEBG_PICTURE, RETRY_AFTER)
}


def picture_headers(result: RemovalResult, headers: Iterable[ResponseHeader] = PICTURE) -> dict[str, str]:
    """Return the values of the headers that a result alone determines."""
    return {header.name: value for header in headers if header.value and (value := header.value(result))}
