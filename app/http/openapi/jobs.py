"""Operations of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app import errors
from app.errors import ServiceError
from app.http.answers import IMAGE_TYPES
from app.http.headers import CONTENT_DISPOSITION, ETAG, IGNORED_PARAMS, LOCATION, RATE_LIMIT
from app.http.jobs.answers import JobAnswer, JobList
from app.http.openapi.native import ANYWHERE, BASE64, WORK, native_fields
from app.http.openapi.operations import (
    BINARY,
    Answer,
    Dialect,
    Operation,
    Sample,
    Schema,
    fields_schema,
    native_failures,
    query_parameters,
    ref,
)
from app.http.openapi.schemas import model_schemas
from app.jobs.errors import (
    IdempotencyConflict,
    JobsNotListed,
    JobsUnavailable,
    PhotoUnreadable,
    ResultNotReady,
    TooManyPhotos,
)
from app.options.parameters import WEB_OPTIONS

__all__ = ["dialect"]

ANY_JOB = (
    errors.MalformedRequest,
    errors.AuthRequired,
    errors.AuthFailed,
    errors.NotFound,
    errors.InternalError,
    JobsUnavailable,
)
SUBMISSION = (
    *ANYWHERE,
    errors.MissingImage,
    errors.InvalidParameter,
    errors.InvalidJson,
    errors.UrlRefused,
    errors.EmptyFile,
    errors.UnsupportedFormat,
    errors.FileTooLarge,
    errors.TooManyParts,
    errors.QueueFull,
    errors.ShuttingDown,
    TooManyPhotos,
    IdempotencyConflict,
    JobsUnavailable,
)
# Errors of a photo, with which its result is answered.
OF_PHOTO = (
    *WORK,
    errors.InvalidParameter,
    errors.EmptyFile,
    errors.FileTooLarge,
    errors.InvalidBase64,
    errors.UrlRefused,
    errors.DownloadFailed,
    errors.UnknownForeground,
)
PRESETS = "Named sets of parameters, separated by commas: one result of each photo for each. Default: none."
JOB = {"application/json": ref("schemas", "JobAnswer")}
# Each event of the stream, in the form of OpenAPI 3.2.
EVENT: Schema = fields_schema(
    {
        "event": {"type": "string", "enum": ["job"]},
        "id": {"type": "string", "description": "Version of the job, for Last-Event-ID."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": ref("schemas", "JobAnswer"),
        },
    },
    "event",
    "id",
    "data",
)


def _path(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _header(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": schema}


ID = _path("job_id", {"type": "string"}, "Id of the job.")
NUMBER = _path("number", {"type": "integer", "minimum": 1}, "Number of the photo, from 1.")
FILES: Schema = {"type": "integer", "minimum": 1, "description": "Number of photos, to be refused before the body."}
KEY = _header(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
    "A new text for each job: a request that is repeated with it gets the same job.",
)
LAST_EVENT = _header("Last-Event-ID", {"type": "string"}, "`id` of the last event received.")
PRESET = {"preset": {"type": "string", "description": "Preset of the result; required if the job has several."}}
IF_NONE_MATCH = _header("If-None-Match", {"type": "string"}, "ETag of the result that the client has.")


def _bodies(fields: dict[str, Schema]) -> dict[str, Schema]:
    urls = {"type": "array", "items": {"type": "string"}, "description": "URLs of photos; only with ALLOW_URL_FETCH."}
    files = {"type": "array", "items": BINARY, "description": "The photos. The fields may also be named `image`."}
    named = fields_schema({"name": {"type": "string"}, "image": BASE64}, "image")
    images = {"type": "array", "items": {"anyOf": [BASE64, named]}, "description": "The photos, with or without names."}
    behind = BINARY | {"description": "Picture behind the subject of every photo."}
    return {
        "JobMultipart": fields_schema({"file": files, "image_urls": urls} | fields | {"background_file": behind}),
        "JobJson": fields_schema({"images": images, "image_urls": urls} | fields),
    }


def _failures(*more: type[ServiceError]) -> dict[int, Answer]:
    return native_failures(*ANY_JOB, *more)


def _submission(parameters: tuple[Schema, ...]) -> Operation:
    accepted = Answer("The job is stored.", JOB, (LOCATION, IGNORED_PARAMS, *RATE_LIMIT))
    return Operation(
        path="/jobs",
        method="post",
        name="create_job",
        summary="Process many photos in the background",
        description="A photo that is empty, too large or not an image fails alone. The answer comes before the work.",
        parameters=(KEY, *parameters),
        body={"multipart/form-data": ref("schemas", "JobMultipart"), "application/json": ref("schemas", "JobJson")},
        answers={202: accepted} | native_failures(*SUBMISSION),
        sample=Sample(
            photo="file", several=True, json={"images": [{"name": "photo.jpg", "image": "data:image/jpeg;base64,..."}]}
        ),
    )


OPERATIONS = (
    Operation(
        path="/jobs",
        method="get",
        name="list_jobs",
        summary="List the jobs of this API key",
        answers={200: Answer("The jobs, the newest first.", {"application/json": ref("schemas", "JobList")})}
        | native_failures(*(error for error in ANY_JOB if error is not errors.NotFound), JobsNotListed),
    ),
    Operation(
        path="/jobs/{job_id}",
        method="get",
        name="read_job",
        summary="State of a job",
        parameters=(ID,),
        answers={200: Answer("The job with its photos.", JOB)} | _failures(),
    ),
    Operation(
        path="/jobs/{job_id}",
        method="delete",
        name="delete_job",
        summary="Cancel and delete a job",
        parameters=(ID,),
        answers={204: Answer("The job and its files are deleted.", {})} | _failures(),
    ),
    Operation(
        path="/jobs/{job_id}/events",
        method="get",
        name="read_job_events",
        summary="Progress of a job as server-sent events",
        description="The first event has all photos, the others those that have changed. The stream ends with the job.",
        parameters=(ID, LAST_EVENT),
        answers={
            200: Answer("A stream of events.", {"text/event-stream": EVENT}),
            204: Answer("The job has ended, and the client has its last event.", {}),
        }
        | _failures(errors.QueueFull),
    ),
    Operation(
        path="/jobs/{job_id}/items/{number}",
        method="get",
        name="read_job_item",
        summary="Result of a photo",
        description="A photo that has failed is answered with its error.",
        parameters=(ID, NUMBER, *query_parameters(PRESET), IF_NONE_MATCH),
        answers={
            200: Answer("The result.", dict.fromkeys(IMAGE_TYPES, BINARY), (CONTENT_DISPOSITION, ETAG)),
            304: Answer("The client has this result.", {}, (ETAG,)),
        }
        | _failures(*OF_PHOTO, PhotoUnreadable, ResultNotReady),
    ),
    Operation(
        path="/jobs/{job_id}/results.zip",
        method="get",
        name="read_job_results",
        summary="ZIP of the results so far",
        description="`manifest.json` at its end lists all photos with the paths of their results, or their errors.",
        parameters=(ID,),
        answers={200: Answer("The ZIP.", {"application/zip": BINARY}, (CONTENT_DISPOSITION,))} | _failures(),
    ),
)


def dialect(models: Sequence[str], presets: Iterable[str]) -> Dialect:
    """Return the operations of a service with these models and presets."""
    names = list(presets)
    fields = {name: each for name, each in native_fields(models, names).items() if name not in WEB_OPTIONS}
    fields["presets"] = {"type": "string", "description": f"{PRESETS} Names: {', '.join(names)}."}
    fields["webhook_url"] = {
        "type": "string",
        "description": "URL for a POST of the job, without `items`, when it has ended.",
    }
    operations = (_submission(query_parameters({"files": FILES} | fields)), *OPERATIONS)
    schemas = model_schemas(JobAnswer, JobList) | _bodies(fields)
    return Dialect("jobs", "Many photos in one request, processed in the background.", operations, schemas)
