"""JSON answers about jobs, as models from which the OpenAPI schemas are derived; `app.jobs.description` builds them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import Field
from pydantic_core import to_json

from app.http.answers import Count, Error, JsonModel
from app.http.responses import NO_STORE

__all__ = ["JobAnswer", "JobList", "answer"]

ItemStates = Literal["queued", "running", "done", "failed"]
JobStates = Literal["queued", "running", "done", "cancelled"]
Timestamp = Annotated[str, Field(description="UTC, ISO 8601.", json_schema_extra={"format": "date-time"})]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=1, description="Number of the photo in the job, from 1.")]


class JobCounts(JsonModel):
    """Photos of a job by state."""

    total: Count
    queued: Count
    running: Count
    done: Count
    failed: Count


class JobLinks(JsonModel):
    """Paths of a job."""

    self: str
    events: str
    results: str


class JobResult(JsonModel):
    """One output of a photo; `preset` is empty in a job without presets."""

    preset: str
    name: str
    mimetype: str
    size: Annotated[Count, Field(description="Bytes.")]
    sha256: Sha256
    width: Count
    height: Count
    model: str
    confidence: Share
    link: str


class JobItem(JsonModel):
    """A photo of a job; `failed` if at least one of its outputs failed."""

    number: Number
    name: Annotated[str, Field(description="Name of the upload, without folders.")]
    state: ItemStates
    error: Error | None
    results: list[JobResult]


class JobSummary(JsonModel):
    """State of a job; `done` also if photos failed."""

    id: str
    state: JobStates
    created: Timestamp
    ended: Timestamp | None
    expires: Timestamp
    counts: JobCounts
    progress: Annotated[Share, Field(description="Share of finished photos.")]
    seconds_left: Annotated[
        float | None, Field(ge=0, description="Estimated seconds until the end; null before the first finished photo.")
    ]
    links: JobLinks


class JobAnswer(JobSummary):
    """A job with all its photos; in an event, with the photos that have changed since the last one."""

    items: list[JobItem]


class JobList(JsonModel):
    """Jobs of an API key, the newest first."""

    jobs: list[JobSummary]


def answer(content: dict[str, Any], status: int = 200) -> Response:
    """Return a response with JSON that is not cached."""
    return Response(to_json(content), status, mimetype="application/json", headers=NO_STORE)
