"""The service's own response headers, with what they say."""

from __future__ import annotations

from typing import Any

__all__ = ["HEADERS", "NATIVE_PICTURE", "PICTURE", "RATE_LIMIT", "RESULT"]

_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}

HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Request-ID": (
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "The request's id: yours, where you sent one of this form, else a new one.",
    ),
    "X-Width": (_COUNT, "Width of the answer, px."),
    "X-Height": (_COUNT, "Height of the answer, px."),
    "X-Foreground-Top": (_COUNT, "Top of the subject's box in the answer, px; the box is all 0 when there is none."),
    "X-Foreground-Left": (_COUNT, "Left of the subject's box, px."),
    "X-Foreground-Width": (_COUNT, "Width of the subject's box, px."),
    "X-Foreground-Height": (_COUNT, "Height of the subject's box, px."),
    "X-Max-Width": (_COUNT, "Width that the answer could have had at the largest `size`, px."),
    "X-Max-Height": (_COUNT, "Height that the answer could have had at the largest `size`, px."),
    "X-Type": ({"type": "string", "enum": ["other"]}, "What the photo shows, as far as it is known."),
    "X-Credits-Charged": (_COUNT, "Always 0."),
    "X-Confidence": (
        {"type": "number", "minimum": 0, "maximum": 1},
        "How sure the model is of the subject; under 0.5 it sees none.",
    ),
    "X-Model": (_TEXT, "The model that was used."),
    "X-Optimization-Used": (_TEXT, "Format, quality and refinement of the answer."),
    "X-Matting-Scale": (
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "Scale at which matting was solved: under 1 where it would have taken too much memory or time.",
    ),
    "X-Original-Size": (_COUNT, "Bytes of the image sent."),
    "X-Optimized-Size": (_COUNT, "Bytes of the answer."),
    "X-Ignored-Params": (_TEXT, "Names of parameters that were not used, with commas between."),
    "X-Fallback": (
        {"type": "string", "enum": ["original"]},
        "This is the image as it was sent, since removing its background failed.",
    ),
    "X-Saved-As": (_TEXT, "Name of the file in OUTPUT_DIR."),
    "X-Cache": (
        {"type": "string", "enum": ["hit", "miss"]},
        "Whether the result was kept from an earlier request; absent where results are not kept.",
    ),
    "X-RateLimit-Limit": (_COUNT, "What the client may use up before the count starts anew."),
    "X-RateLimit-Remaining": (_COUNT, "How much of it is left."),
    "X-RateLimit-Reset": (_COUNT, "When the count starts anew, Unix seconds."),
    "Retry-After": (_COUNT, "Whole seconds after which to try again."),
    "Server-Timing": (_TEXT, "Milliseconds of queue, decode, infer, cutout and encode."),
}
RATE_LIMIT = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
# What a result carries in every dialect, and in the native one.
PICTURE = (
    "X-Width",
    "X-Height",
    "X-Foreground-Top",
    "X-Foreground-Left",
    "X-Foreground-Width",
    "X-Foreground-Height",
    "X-Confidence",
    "X-Model",
    "X-Cache",
    "X-Ignored-Params",
    "Server-Timing",
    *RATE_LIMIT,
)
NATIVE_PICTURE = (*PICTURE, "X-Optimization-Used", "X-Matting-Scale", "X-Original-Size", "X-Optimized-Size")
RESULT = (*NATIVE_PICTURE, "X-Fallback", "X-Saved-As")
