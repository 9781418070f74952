"""Operations of the native dialect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app import errors
from app.http.answers import IMAGE_TYPES, EncodedImage, KeptFile
from app.http.headers import FALLBACK, NATIVE_PICTURE, RATE_LIMIT, SAVED_AS
from app.http.openapi.operations import (
    BINARY,
    Answer,
    Dialect,
    Operation,
    Sample,
    Schema,
    fields_schema,
    native_failures,
    parameter_schemas,
    query_parameters,
    ref,
)
from app.http.openapi.schemas import model_schemas
from app.options.parameters import PARAMETERS

__all__ = ["ANYWHERE", "BASE64", "BODY", "REMOVAL", "WORK", "dialect", "native_fields"]

RESULT = (*NATIVE_PICTURE, FALLBACK, SAVED_AS)
BASE64: Schema = {
    "type": "string",
    "contentEncoding": "base64",
    "format": "byte",  # for OpenAPI before 3.1
    "description": "The image as base64, with or without the prefix data:…;base64,.",
}
SCHEMAS: dict[str, Schema] = model_schemas(EncodedImage, KeptFile) | {
    "ReadFileRequest": fields_schema(
        {"path": {"type": "string", "minLength": 1, "description": "Relative to UPLOAD_DIR or OUTPUT_DIR."}}, "path"
    ),
}
ANYWHERE = (
    errors.MalformedRequest,
    errors.AuthRequired,
    errors.AuthFailed,
    errors.RequestTimeout,
    errors.RateLimited,
    errors.InternalError,
)
BODY = (
    errors.MissingImage,
    errors.InvalidParameter,
    errors.InvalidJson,
    errors.EmptyFile,
    errors.MultipleSources,
    errors.FileTooLarge,
    errors.TooManyParts,
)
WORK = (
    errors.TooManyPixels,
    errors.OutOfMemory,
    errors.UnsupportedFormat,
    errors.CorruptImage,
    errors.TransparentImage,
    errors.ImageRefused,
    errors.QueueFull,
    errors.EngineCrashed,
    errors.ModelUnavailable,
    errors.ShuttingDown,
    errors.DeadlineExceeded,
)
REMOVAL = (*ANYWHERE, *BODY, *WORK, errors.InvalidBase64, errors.UnknownForeground)
READING = (errors.InvalidParameter, errors.InvalidJson, errors.ForbiddenPath, errors.NotFound, errors.FileTooLarge)


def dialect(models: Sequence[str], presets: Iterable[str]) -> Dialect:
    """Return the native dialect for a service with these models and presets."""
    fields = native_fields(models, presets)
    image = Answer("The image without its background.", dict.fromkeys(IMAGE_TYPES, BINARY), RESULT)
    encoded = Answer("The image without its background.", {"application/json": ref("schemas", "EncodedImage")}, RESULT)
    endpoints = {
        "remove-background": ("Remove the background", "Returns the image as an attachment.", image),
        "remove-background-preview": (
            "Remove the background, small preview",
            "Returns the image inline, with a longer side of at most 1024 px.",
            image,
        ),
        "remove-background-base64": (
            "Remove the background, JSON answer",
            "Returns JSON with the image as base64.",
            encoded,
        ),
    }
    removals = (_removal(name, *words, query_parameters(fields)) for name, words in endpoints.items())
    return Dialect("native", "Native API of this service.", (*removals, _read_file()), SCHEMAS | _bodies(fields))


def native_fields(models: Sequence[str], presets: Iterable[str]) -> dict[str, Schema]:
    """Return the schemas of the native parameters, and of `preset`."""
    fields = parameter_schemas(PARAMETERS, models)
    text = "Named set of parameters; explicit parameters override it. Default: none."
    fields["preset"] = {"type": "string", "enum": list(presets), "description": text}
    return fields


def _bodies(fields: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of the bodies; form and JSON differ by name, for generated clients."""
    file = BINARY | {"description": "The image. The field may also be named `image`."}
    behind = BINARY | {
        "description": "Picture behind the subject, scaled to cover, centred; `background` fills its transparent parts."
    }
    return {
        "RemovalMultipart": fields_schema({"file": file} | fields | {"background_file": behind}, "file"),
        "RemovalJson": fields_schema({"image": BASE64} | fields, "image"),
        "RemovalForm": fields_schema({"image": BASE64} | fields, "image"),
    }


def _removal(name: str, summary: str, description: str, answer: Answer, parameters: tuple[Schema, ...]) -> Operation:
    return Operation(
        path=f"/{name}",
        method="post",
        name=name.replace("-", "_"),
        summary=summary,
        description=f"{description} The image's format is detected from its content; file names and types are ignored.",
        parameters=parameters,
        body={
            "multipart/form-data": ref("schemas", "RemovalMultipart"),
            "application/json": ref("schemas", "RemovalJson"),
            "application/x-www-form-urlencoded": ref("schemas", "RemovalForm"),
            "application/octet-stream": BINARY,
        },
        answers={200: answer} | native_failures(*REMOVAL),
        sample=Sample(photo="file", json={"image": "data:image/jpeg;base64,..."}),
    )


def _read_file() -> Operation:
    return Operation(
        path="/read-file",
        method="post",
        name="read_file",
        summary="Read a stored image",
        description="Returns an image from UPLOAD_DIR or OUTPUT_DIR, such as a result of `save`.",
        body={"application/json": ref("schemas", "ReadFileRequest")},
        answers={200: Answer("The image.", {"application/json": ref("schemas", "KeptFile")}, RATE_LIMIT)}
        | native_failures(*ANYWHERE, *READING, errors.UnsupportedFormat),
        sample=Sample(json={"path": "photo.jpg"}),
    )
