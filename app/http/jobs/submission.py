"""Submission of a job: its body is stored while it arrives, its options are checked before it is accepted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from flask import Request, g
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from app.errors import FileTooLarge, InvalidParameter, MissingImage
from app.http import request_log
from app.http.bodies import NO_CONTENT_TYPE, check_coding, query_texts
from app.http.body_parsers import MAX_FIELD_BYTES, MAX_FIELDS, PIECE, Budget
from app.http.jobs.form import JobForm
from app.http.jobs.json_body import JobJson
from app.http.jobs.options import JobOptions, parse_options
from app.http.jobs.photos import Intake, too_many_photos
from app.http.limits import client_name, keep_photos, reserve_photos
from app.http.services import services
from app.imaging.formats import of_background
from app.jobs.errors import JobsUnavailable
from app.jobs.model import Job, NewJob
from app.jobs.service import JobService

__all__ = ["Submission", "submit"]

# Bytes of texts that each photo may have, such as its URL, besides MAX_FIELD_BYTES of all others.
BYTES_PER_PHOTO = 2_048
_KEY = re.compile(r"[\x20-\x7e]{1,200}")
_COUNT = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Submission:
    """An accepted job, and the names of its parameters without effect."""

    job: Job
    ignored: frozenset[str]


def submit(request: Request, jobs: JobService) -> Submission:
    """Read and store the job of a request; a refused one leaves nothing.

    Raise JobsUnavailable, RateLimited, TooManyPhotos, FileTooLarge, MissingImage, IdempotencyConflict, and errors of
    options and bodies.
    """
    settings = services().settings
    request.max_content_length = settings.jobs_max_bytes
    jobs.check()
    check_coding(request)
    key, query = _idempotency_key(request), query_texts(request)
    _reserve_announced(query, settings.jobs_max_files)
    _options(query)
    intake = Intake(
        jobs.files, jobs.new_id(), settings.jobs_max_files, settings.max_image_bytes, settings.allow_url_fetch
    )
    try:
        options, unknown_files = _read(request, query, intake)
        new = _new_job(intake, options, key)
    except BaseException:
        with suppress(JobsUnavailable):
            intake.abandon()
        jobs.discard(intake.job_id)
        raise
    job = jobs.submit(new)
    request_log.add_fields(bytes_in=sum(item.size for item in intake.items))
    keep_photos(len(intake.items) if job.id == intake.job_id else 0)
    return Submission(job, options.ignored.union(unknown_files))


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if "Idempotency-Key" in request.headers and not _KEY.fullmatch(key):
        raise InvalidParameter(
            "The header Idempotency-Key must have 1 to 200 printable ASCII characters.", parameter="Idempotency-Key"
        )
    return key


def _reserve_announced(query: dict[str, str], limit: int) -> None:
    """Count the photos that `files` in the query announces, before the body."""
    text = query.pop("files", "")
    if not text:
        return
    if not _COUNT.fullmatch(text):
        raise InvalidParameter("Parameter 'files' must be a number of photos.", parameter="files")
    if int(text) > limit:
        raise too_many_photos(limit)
    reserve_photos(int(text))


def _options(texts: Mapping[str, str]) -> JobOptions:
    return parse_options(texts, services().settings, services().presets)


def _read(request: Request, query: dict[str, str], intake: Intake) -> tuple[JobOptions, list[str]]:
    try:
        texts, unknown_files = _read_body(request, query, intake)
    except RequestEntityTooLarge:
        limit = request.max_content_length
        raise FileTooLarge(
            f"The job's body has more than {limit} bytes.",
            solution=f"Divide the photos among several jobs, each of at most {limit} bytes.",
        ) from None
    if not intake.items:
        raise MissingImage(
            "The request contains no photo.",
            solution="Send photos as multipart fields 'file', as base64 in 'images', or URLs in 'image_urls'.",
        )
    return _options(query | texts), unknown_files


def _read_body(request: Request, query: dict[str, str], intake: Intake) -> tuple[dict[str, str], list[str]]:
    """Return the texts of the body, and the names of unknown files."""
    text_bytes = MAX_FIELD_BYTES + BYTES_PER_PHOTO * intake.max_photos
    if request.mimetype == "multipart/form-data":
        boundary = request.mimetype_params.get("boundary", "")
        if not boundary:
            raise MissingImage("The Content-Type 'multipart/form-data' has no boundary.", solution=NO_CONTENT_TYPE)
        budget = Budget(text_bytes, MAX_FIELDS + 2 * intake.max_photos)
        form = JobForm(intake, budget, lambda texts: _options({**query, **texts}))
        form.read(request.stream, boundary)
        return form.texts, form.unknown_files
    body = JobJson(intake, text_bytes)
    body.read(_json_pieces(request))
    return body.texts, []


def _json_pieces(request: Request) -> Iterator[bytes]:
    """Yield the pieces of a JSON body; raise MissingImage for another kind, ClientDisconnected at a cut."""
    received = 0
    while piece := request.stream.read(PIECE):
        if not received and not request.is_json and not piece.lstrip().startswith(b"{"):
            raise MissingImage(
                "The body is neither a multipart form nor JSON.",
                solution="Send a multipart form with -F file=@photo.jpg.",
            )
        received += len(piece)
        yield piece
    if received < (request.content_length or 0):
        raise ClientDisconnected


def _new_job(intake: Intake, options: JobOptions, key: str) -> NewJob:
    background = intake.background
    if background is not None and background.error is not None:
        with of_background():
            raise background.error
    return NewJob(
        id=intake.job_id,
        owner=g.api_key_name or "",
        variants=options.variants,
        items=tuple(intake.items),
        background=background.key if background else "",
        webhook_url=options.webhook_url,
        client=client_name() if key else "",
        idempotency_key=key,
        digest=_digest(intake, options),
    )


def _digest(intake: Intake, options: JobOptions) -> str:
    """Return the digest of photos and options, equal for a repeated request."""
    variants = [[variant.name, sorted(variant.fields.items())] for variant in options.variants]
    background = intake.background.content() if intake.background else []
    content = [intake.content, variants, background, options.webhook_url]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
