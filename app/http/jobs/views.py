"""Routes of jobs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from flask import Blueprint, Response, g, request

from app.errors import InvalidParameter, NotFound, QueueFull
from app.http.client_connection import pauses_between_pieces
from app.http.dispositions import content_disposition
from app.http.headers import CONTENT_DISPOSITION, LOCATION
from app.http.jobs.answers import answer
from app.http.jobs.archive import archive, result_content
from app.http.jobs.events import EventStream, has_ended
from app.http.jobs.submission import submit
from app.http.limits import limited_by, limiter
from app.http.responses import NO_STORE, name_ignored
from app.http.services import services
from app.jobs.description import describe, describe_item, short_id
from app.jobs.errors import JobsNotListed, JobsUnavailable, ResultNotReady
from app.jobs.model import Item, Job, Output
from app.jobs.service import JobService
from app.options.parameters import not_one_of

__all__ = ["blueprint"]

blueprint = Blueprint("jobs", __name__)

MAX_LISTED = 1000
# Event streams of a web process at the same time; each asks the store every second.
MAX_STREAMS, RETRY_SECONDS = 200, 10
STREAM_HEADERS = NO_STORE | {"X-Accel-Buffering": "no"}  # nginx would collect the events

_streams = threading.BoundedSemaphore(MAX_STREAMS)


@blueprint.post("/jobs")
@limited_by("rate_limit_jobs_per_hour")
def create_job() -> Response:
    """Store a job and answer with it, before its photos are processed."""
    submission = submit(request, _jobs())
    job = submission.job
    response = answer(describe(job, _jobs().items(job)), 202)
    response.headers[LOCATION.name] = f"/jobs/{job.id}"
    return name_ignored(response, submission.ignored)


@blueprint.get("/jobs")
@limiter.exempt
def list_jobs() -> Response:
    """Answer with the newest jobs of this API key, without their photos."""
    if not g.api_key_name:
        raise JobsNotListed()
    return answer({"jobs": [describe(job) for job in _jobs().jobs_of(g.api_key_name)[:MAX_LISTED]]})


@blueprint.get("/jobs/<job_id>")
@limiter.exempt
def read_job(job_id: str) -> Response:
    """Answer with a job."""
    job = _find(job_id)
    return answer(describe(job, _jobs().items(job)))


@blueprint.delete("/jobs/<job_id>")
@limiter.exempt
def delete_job(job_id: str) -> Response:
    """Cancel and delete a job with its files."""
    _jobs().delete(_find(job_id))
    return Response(status=204)


@blueprint.get("/jobs/<job_id>/items/<int:number>")
@limiter.exempt
def read_item(job_id: str, number: int) -> Response:
    """Answer with a result, or with the error of its photo."""
    job = _find(job_id)
    if not 1 <= number <= job.counts.total:
        raise NotFound(f"The job has no photo {number}.", solution=f"Its photos are 1 to {job.counts.total}.")
    item = _jobs().item(job, number)
    output = _chosen(job, item)
    if output is not None:
        return _result(job, output)
    if item.error is not None:
        return answer(describe_item(job, item)["error"], item.error.status)
    raise ResultNotReady(details=f"The photo is {item.state}.")


@blueprint.get("/jobs/<job_id>/results.zip")
@limiter.exempt
def read_results(job_id: str) -> Response:
    """Answer with a ZIP of the results so far."""
    job = _find(job_id)
    zipped = archive(job, _jobs().items(job), _jobs().files)
    response = Response(iter(zipped), mimetype="application/zip", headers=NO_STORE)
    response.content_length = len(zipped)
    _attach(response, f"results-{short_id(job.id)}.zip")
    return response


@blueprint.get("/jobs/<job_id>/events")
@limiter.exempt
def read_events(job_id: str) -> Response:
    """Answer with a stream of events; 204, which ends a browser's attempts, if none follows the last one it has."""
    job = _find(job_id)
    after = request.headers.get("Last-Event-ID", type=int, default=-1)
    if has_ended(job) and after == job.version:
        return Response(status=204, headers=NO_STORE)
    stream = EventStream(_jobs(), job, after if after <= job.version else -1, sleeps=not pauses_between_pieces(request))
    response = Response(stream, mimetype="text/event-stream", headers=STREAM_HEADERS)
    _enter_streams(response)
    return response


def _enter_streams(response: Response) -> None:
    """Count a stream until its end; raise QueueFull."""
    if not _streams.acquire(blocking=False):
        raise QueueFull(
            f"{MAX_STREAMS} streams of events are open, the maximum.",
            solution="Ask for the job's state instead, every few seconds.",
            retry_after=RETRY_SECONDS,
        )
    response.call_on_close(_streams.release)


def _jobs() -> JobService:
    jobs = services().jobs
    if jobs is None:
        raise NotFound()
    return jobs


def _find(job_id: str) -> Job:
    """Return a job of this client; raise NotFound for every other one."""
    return _jobs().find(job_id, g.api_key_name or "")


def _chosen(job: Job, item: Item) -> Output | None:
    """Return the output of the preset in the query, None if there is none; raise InvalidParameter."""
    names = [variant.name for variant in job.variants]
    preset = request.args.get("preset", "").strip().lower() or (names[0] if len(names) == 1 else "")
    if names == [""] and preset:
        raise InvalidParameter("The job has no presets.", solution="Omit 'preset'.", parameter="preset")
    if preset not in names:
        raise not_one_of("preset", preset, names)
    return next((output for output in item.outputs if output.variant == preset), None)


def _result(job: Job, output: Output) -> Response:
    headers = {"Cache-Control": "private, no-cache"}
    if request.if_none_match.contains_weak(output.sha256):
        response = Response(status=304, headers=headers)
    else:
        response = Response(_chunks(job, output), mimetype=output.mimetype, headers=headers)
        response.content_length = output.size
        _attach(response, output.path)
    response.set_etag(output.sha256)
    return response


def _chunks(job: Job, output: Output) -> Iterator[bytes]:
    """Return the content of a result, whose first piece has been read; raise NotFound or JobsUnavailable."""
    try:
        chunks = iter(_jobs().files.chunks(output.key))
        first = next(chunks, b"")
    except FileNotFoundError:  # the job has just been deleted, or somebody has deleted its files
        message = "The file of this result has been deleted."
        raise NotFound(message, solution="Send the photo again.") from None
    except OSError as error:
        raise JobsUnavailable() from error
    return itertools.chain([first], result_content(job.id, chunks))


def _attach(response: Response, name: str) -> None:
    """Make an answer a download under this name."""
    extension = name.rpartition(".")[2]
    response.headers[CONTENT_DISPOSITION.name] = content_disposition("attachment", name, extension, default="result")
