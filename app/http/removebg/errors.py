"""Every failure in remove.bg's shape: `{"errors": [{"title", "code", "detail"}]}`."""

from __future__ import annotations

from flask import Response

from app.errors import ServiceError
from app.http.answers import JsonModel, json_response
from app.http.headers import RETRY_AFTER
from app.http.removebg.parameters import BACKGROUNDS, PARAMETERS

__all__ = ["CODES", "OF_BACKGROUND", "RemoveBgErrors", "body_of", "code_of", "render", "status_of"]

# Our code: its status and code in this dialect. What is not here keeps its status, and its code in small letters.
CODES = {
    "MISSING_IMAGE": (400, "missing_source"),
    "MULTIPLE_SOURCES": (400, "multiple_sources"),
    "INVALID_URL": (400, "invalid_image_url"),
    "DOWNLOAD_FAILED": (400, "failed_image_download"),
    "EMPTY_FILE": (400, "failed_to_read_image"),
    "INVALID_BASE64": (400, "failed_to_read_image"),
    "UNSUPPORTED_FORMAT": (400, "failed_to_read_image"),
    "CORRUPT_IMAGE": (400, "failed_to_read_image"),
    "IMAGE_REFUSED": (400, "failed_to_read_image"),
    "TOO_MANY_PIXELS": (400, "resolution_too_high"),
    "FILE_TOO_LARGE": (400, "file_too_large"),
    "TOO_MANY_PARTS": (400, "too_many_parts"),
    "UNKNOWN_FOREGROUND": (400, "unknown_foreground"),
    "AUTH_REQUIRED": (403, "auth_failed"),
    "RATE_LIMITED": (429, "rate_limit_exceeded"),
    "QUEUE_FULL": (429, "rate_limit_exceeded"),
}
# The same failures where it is the background's fault.
OF_BACKGROUND = {
    "MULTIPLE_SOURCES": "multiple_bg_sources",
    "INVALID_URL": "invalid_bg_image_url",
    "DOWNLOAD_FAILED": "failed_bg_download",
}
# Titles that clients know; elsewhere the message is the title, since it is all that most of them show.
TITLES = {
    "AUTH_REQUIRED": "Missing API Key",
    "AUTH_FAILED": "API Key invalid",
    "RATE_LIMITED": "Rate limit exceeded",
    "QUEUE_FULL": "Rate limit exceeded",
}


class RemoveBgError(JsonModel):
    """A failure: its title, its stable code and what to do."""

    title: str
    code: str
    detail: str | None = None


class RemoveBgErrors(JsonModel):
    """The body of every failed request."""

    errors: list[RemoveBgError]


def render(error: ServiceError) -> Response:
    """Render an error in this dialect's shape; Retry-After is for 429 only."""
    response = json_response(body_of(error), status_of(error))
    if error.retry_after is not None and response.status_code == 429:
        response.headers[RETRY_AFTER.name] = str(error.retry_after)
    return response


def body_of(error: ServiceError) -> RemoveBgErrors:
    """Return an error in this dialect's shape."""
    compared_whole = error.code in {"AUTH_REQUIRED", "AUTH_FAILED"}  # by clients
    entry = RemoveBgError(
        title=TITLES.get(error.code, error.message),
        code=code_of(error),
        detail=None if compared_whole else _detail(error),
    )
    return RemoveBgErrors(errors=[entry])


def status_of(error: ServiceError | type[ServiceError]) -> int:
    """Return the status that an error has in this dialect."""
    return CODES[error.code][0] if error.code in CODES else error.status


def code_of(error: ServiceError) -> str:
    """Return the code that an error has in this dialect."""
    if error.code == "INVALID_PARAMETER" and error.parameter in PARAMETERS:
        return PARAMETERS[error.parameter].error
    if error.parameter in BACKGROUNDS and error.code in OF_BACKGROUND:
        return OF_BACKGROUND[error.code]
    return CODES[error.code][1] if error.code in CODES else error.code.lower()


def _detail(error: ServiceError) -> str:
    said = error.message if error.code in TITLES else ""
    return " ".join(filter(None, (said, error.advice, f"({error.details})" if error.details else "")))
