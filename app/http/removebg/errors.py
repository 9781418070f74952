"""Errors in remove.bg's shape: `{"errors": [{"title", "code", "detail"}]}`."""

from __future__ import annotations

from flask import Response

from app.errors import ServiceError
from app.http.answers import JsonModel, json_response
from app.http.headers import RETRY_AFTER
from app.http.removebg.parameters import BACKGROUNDS, PARAMETERS

__all__ = ["BACKGROUND_CODES", "CODES", "RemoveBgErrors", "body_of", "code_of", "render", "status_of"]

# Status and code in this dialect, by native code. Other errors keep their status, and their code in lower case.
CODES = {
    "MISSING_IMAGE": (400, "missing_source"),
    "MULTIPLE_SOURCES": (400, "multiple_sources"),
    "INVALID_URL": (400, "invalid_image_url"),
    "DOWNLOAD_FAILED": (400, "failed_image_download"),
    "EMPTY_FILE": (400, "failed_to_read_image"),
    "INVALID_BASE64": (400, "failed_to_read_image"),
    "UNSUPPORTED_FORMAT": (400, "failed_to_read_image"),
    "CORRUPT_IMAGE": (400, "failed_to_read_image"),
    "TRANSPARENT_IMAGE": (400, "unknown_foreground"),
    "IMAGE_REFUSED": (400, "failed_to_read_image"),
    "TOO_MANY_PIXELS": (400, "resolution_too_high"),
    "FILE_TOO_LARGE": (400, "file_too_large"),
    "TOO_MANY_PARTS": (400, "too_many_parts"),
    "UNKNOWN_FOREGROUND": (400, "unknown_foreground"),
    "AUTH_REQUIRED": (403, "auth_failed"),
    "RATE_LIMITED": (429, "rate_limit_exceeded"),
    "QUEUE_FULL": (429, "rate_limit_exceeded"),
}
# Codes of errors of the background image.
BACKGROUND_CODES = {
    "MULTIPLE_SOURCES": "multiple_bg_sources",
    "INVALID_URL": "invalid_bg_image_url",
    "DOWNLOAD_FAILED": "failed_bg_download",
}
# Titles that clients expect. Other errors have their message as title, since most clients show nothing else.
TITLES = {
    "AUTH_REQUIRED": "Missing API Key",
    "AUTH_FAILED": "API Key invalid",
    "RATE_LIMITED": "Rate limit exceeded",
    "QUEUE_FULL": "Rate limit exceeded",
}


class RemoveBgError(JsonModel):
    """An error: title, stable code and advice."""

    title: str
    code: str
    detail: str | None = None


class RemoveBgErrors(JsonModel):
    """Body of every failed request."""

    errors: list[RemoveBgError]


def render(error: ServiceError) -> Response:
    """Return the response for an error; with Retry-After for 429 only."""
    response = json_response(body_of(error), status_of(error))
    if error.retry_after is not None and response.status_code == 429:
        response.headers[RETRY_AFTER.name] = str(error.retry_after)
    return response


def body_of(error: ServiceError) -> RemoveBgErrors:
    """Return the body for an error."""
    without_detail = error.code in {"AUTH_REQUIRED", "AUTH_FAILED"}  # clients compare the whole body
    entry = RemoveBgError(
        title=TITLES.get(error.code, error.message),
        code=code_of(error),
        detail=None if without_detail else _detail(error),
    )
    return RemoveBgErrors(errors=[entry])


def status_of(error: ServiceError | type[ServiceError]) -> int:
    """Return the status of an error in this dialect."""
    return CODES[error.code][0] if error.code in CODES else error.status


def code_of(error: ServiceError) -> str:
    """Return the code of an error in this dialect."""
    if error.code == "INVALID_PARAMETER" and error.parameter in PARAMETERS:
        return PARAMETERS[error.parameter].error
    if error.parameter in BACKGROUNDS and error.code in BACKGROUND_CODES:
        return BACKGROUND_CODES[error.code]
    return CODES[error.code][1] if error.code in CODES else error.code.lower()


def _detail(error: ServiceError) -> str:
    message = error.message if error.code in TITLES else ""
    has_news = error.details and error.code != "INVALID_PARAMETER"  # the title has the allowed values
    return " ".join(filter(None, (message, error.advice, f"({error.details})" if has_news else "")))
