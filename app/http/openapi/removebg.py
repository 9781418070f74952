"""Operations of remove.bg's dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app import errors
from app.errors import ServiceError
from app.http.headers import RATE_LIMIT, REMOVEBG_PICTURE, RETRY_AFTER
from app.http.openapi.native import ANYWHERE, REMOVAL
from app.http.openapi.operations import (
    BINARY,
    Answer,
    Dialect,
    Operation,
    Sample,
    Schema,
    fields_schema,
    ref,
    with_text,
)
from app.http.openapi.schemas import model_schemas
from app.http.removebg.errors import BACKGROUND_CODES, RemoveBgErrors, body_of, code_of, status_of
from app.http.removebg.parameters import PARAMETERS, SOURCES
from app.http.removebg.responses import RemoveBgAccount, RemoveBgResult

__all__ = ["DIALECT", "EXAMPLES"]

TAG = "remove.bg"
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "application/zip")
FAILURES = (
    *REMOVAL,
    errors.UrlRefused,
    errors.DownloadFailed,
    errors.RoiExceedsBounds,
    errors.RoiEmpty,
)
SCHEMAS = model_schemas(RemoveBgErrors, RemoveBgResult, RemoveBgAccount)


def _cases(failures: Iterable[type[ServiceError]]) -> Iterator[ServiceError]:
    """Return an error for each code that failures have in this dialect; some codes depend on the parameter."""
    for failure in failures:
        yield failure()
        if failure is errors.InvalidParameter:
            yield from (failure(parameter=name) for name in PARAMETERS)
        elif failure.code in BACKGROUND_CODES:
            yield failure(parameter="bg_image_file")


def _failures(*failures: type[ServiceError]) -> dict[int, Answer]:
    by_status: dict[int, dict[str, ServiceError]] = {}
    for error in _cases(failures):
        by_status.setdefault(status_of(error), {}).setdefault(code_of(error), error)
    return {status: _answer(status, cases) for status, cases in by_status.items()}


def _answer(status: int, cases: dict[str, ServiceError]) -> Answer:
    return Answer(
        "\n".join(f"`{code}`: {error.message}" for code, error in cases.items()),
        {"application/json": ref("schemas", "RemoveBgErrors")},
        (*RATE_LIMIT, RETRY_AFTER) if status == 429 else RATE_LIMIT,
        {code: ref("examples", f"{TAG}.{code}") for code in cases},
    )


def _fields(*, files: bool) -> dict[str, Schema]:
    return {
        name: with_text(BINARY if parameter.is_file else parameter.kind.schema, parameter)
        for name, parameter in PARAMETERS.items()
        if files or not parameter.is_file
    }


def _example(error: ServiceError) -> Schema:
    return {"summary": error.message, "value": body_of(error).model_dump(exclude_none=True)}


EXAMPLES = {f"{TAG}.{code_of(error)}": _example(error) for error in _cases((*FAILURES, errors.NotImplementedHere))}
BODIES = {
    "RemoveBgMultipart": fields_schema(_fields(files=True)),
    "RemoveBgJson": fields_schema(_fields(files=False)),
    "RemoveBgForm": fields_schema(_fields(files=False)),
}
OPERATIONS = (
    Operation(
        path="/v1.0/removebg",
        method="post",
        name="removebg",
        summary="Remove the background",
        description=f"Exactly one of {', '.join(f'`{name}`' for name in SOURCES)} is required. The answer is the "
        "picture, or JSON with `Accept: application/json`. Parameters without effect are listed in `X-Ignored-Params`.",
        body={
            "multipart/form-data": ref("schemas", "RemoveBgMultipart"),
            "application/json": ref("schemas", "RemoveBgJson"),
            "application/x-www-form-urlencoded": ref("schemas", "RemoveBgForm"),
        },
        answers={
            200: Answer(
                "The picture.",
                dict.fromkeys(IMAGE_TYPES, BINARY) | {"application/json": ref("schemas", "RemoveBgResult")},
                REMOVEBG_PICTURE,
            )
        }
        | _failures(*FAILURES),
        sample=Sample(photo="image_file", json={"image_url": "https://example.com/photo.jpg"}),
    ),
    Operation(
        path="/v1.0/account",
        method="get",
        name="removebg_account",
        summary="Constant credit balance",
        answers={200: Answer("The balance.", {"application/json": ref("schemas", "RemoveBgAccount")})}
        | _failures(errors.AuthRequired, errors.AuthFailed, errors.InternalError),
    ),
    Operation(
        path="/v1.0/improve",
        method="post",
        name="removebg_improve",
        summary="Not implemented",
        description="Uploaded photos are not used for training.",
        answers=_failures(*ANYWHERE, errors.NotImplementedHere),
    ),
)
DIALECT = Dialect(TAG, "API of remove.bg, for its existing clients.", OPERATIONS, SCHEMAS | BODIES)
