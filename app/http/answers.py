"""JSON answers of the service, as models from which the OpenAPI schemas are derived."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from app.errors import ServiceError, error_codes
from app.imaging.formats import ACCEPTED_FORMATS
from app.removal import OutputFormat

__all__ = [
    "IMAGE_TYPES",
    "Alive",
    "Base64",
    "Checks",
    "Count",
    "EncodedImage",
    "Error",
    "Foreground",
    "Health",
    "JsonModel",
    "KeptFile",
    "Memory",
    "NotReady",
    "Optimization",
    "Queue",
    "Ready",
    "json_response",
]

# Formats of results; AUTO is replaced by one of the others.
FORMATS = [name for name in get_args(OutputFormat) if name != "AUTO"]
# With `on_error=original` the answer can have any supported format.
IMAGE_TYPES = ("application/zip", *(f"image/{name.lower()}" for name in ACCEPTED_FORMATS))
Count = Annotated[int, Field(ge=0)]
Base64 = Annotated[
    str,
    Field(
        description="The image as base64.",
        # `format`: for OpenAPI before 3.1.
        json_schema_extra={"contentEncoding": "base64", "format": "byte"},
    ),
]


class JsonModel(BaseModel):
    """Base of the answers; fields are sent in the order of their declaration.

    An `enum` in a field's schema is not validated: a failed check must not cost a finished photo.
    """

    model_config = ConfigDict(frozen=True)


def json_response(answer: JsonModel, status: int = 200, *, exclude_none: bool = True) -> Response:
    """Return a response with this answer; without fields that are None, unless `exclude_none` is false."""
    # `model_dump_json` would return a str: one more copy of the image.
    return Response(to_json(answer, exclude_none=exclude_none), status, mimetype="application/json")


class Optimization(JsonModel):
    """Encoding of the answer, and its size relative to the upload."""

    format: Annotated[str, Field(json_schema_extra={"enum": FORMATS})]
    quality: Annotated[int, Field(ge=10, le=100)]
    dimensions: Annotated[str, Field(pattern="^[0-9]+x[0-9]+$")]
    original_size: Count
    compression_ratio: Annotated[str, Field(pattern="^-?[0-9]+%$")]


class Foreground(JsonModel):
    """Bounding box of the subject in the answer, px; all 0 without a subject."""

    top: Count
    left: Count
    width: Count
    height: Count


class EncodedImage(JsonModel):
    """An image without its background, or with `fallback` the uploaded image."""

    success: Annotated[bool, Field(description="false: this is the uploaded image.")]
    fallback: Literal["original"] | None = None
    image: Base64
    mimetype: Annotated[str, Field(json_schema_extra={"enum": list(IMAGE_TYPES)})]
    size: Annotated[Count, Field(description="Bytes of the image.")]
    optimization: Optimization | None = None
    foreground: Foreground | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    model: str | None = None
    request_id: str


class KeptFile(JsonModel):
    """An image that is kept under UPLOAD_DIR or OUTPUT_DIR."""

    success: bool
    image: Base64
    mimetype: str
    size: Annotated[Count, Field(description="Bytes of the image.")]
    request_id: str


# Functions, because packages declare errors of their own.
def _list_codes(schema: dict[str, Any]) -> None:
    schema["enum"] = sorted(error_codes())


def _list_statuses(schema: dict[str, Any]) -> None:
    schema["enum"] = sorted({error.status for error in error_codes().values()})


class Error(JsonModel):
    """A failure in the native shape."""

    error: str
    message: str
    code: Annotated[str, Field(description="Stable, for programs.", json_schema_extra=_list_codes)]
    statusCode: Annotated[int, Field(json_schema_extra=_list_statuses)]
    solution: str
    details: str
    request_id: str

    @classmethod
    def of(cls, error: ServiceError, request_id: str) -> Error:
        """Return the public part of an error."""
        return cls(
            error=error.title,
            message=error.message,
            code=error.code,
            statusCode=error.status,
            solution=error.advice,
            details=error.details or error.message,
            request_id=request_id,
        )


class Checks(JsonModel):
    """Checks of the parts of the service; null where a part is not in use."""

    app: bool | None
    engine: bool | None
    model: bool | None
    redis: bool | None
    disk_space: bool | None
    memory: bool | None


class Memory(JsonModel):
    """Resident memory of the service and its limit."""

    rss_mb: Count
    limit_mb: Count
    level: Literal["OK", "WARNING", "CRITICAL"]


class Disk(JsonModel):
    """Free space of the fullest disk that the service writes to."""

    free_mb: Count
    free_percent: Count
    level: Literal["OK", "WARNING", "CRITICAL"]


class Queue(JsonModel):
    """Requests that wait for an engine."""

    depth: Count
    capacity: Count


class Health(JsonModel):
    """State of the service."""

    status: Literal["healthy", "degraded", "unhealthy"]
    reason: str | None
    checks: Checks
    memory: Memory
    disk: Disk | None
    model: str
    provider: str | None
    queue: Queue
    uptime_s: Count
    name: str
    version: str


class Alive(JsonModel):
    """The web process answers."""

    status: Literal["alive"]


class Ready(JsonModel):
    """Photos can be processed."""

    status: Literal["ready"]


class NotReady(JsonModel):
    """Photos cannot be processed now."""

    status: Literal["unavailable"]
    reason: str
    solution: str
