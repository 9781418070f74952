"""Description of a job as plain data for JSON: the same in answers, events and webhooks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from app.jobs.model import Item, ItemError, Job, Output

__all__ = ["describe", "describe_item", "reference", "short_id"]


def describe(job: Job, items: Sequence[Item] | None = None, now: float | None = None) -> dict[str, Any]:
    """Return a job as JSON types; with `items` also these of its items. `now` is in seconds since 1970."""
    seconds_left = job.seconds_left(time.time() if now is None else now)
    path = f"/jobs/{job.id}"
    described = {
        "id": job.id,
        "state": job.state.value,
        "created": _timestamp(job.created),
        "ended": None if job.ended is None else _timestamp(job.ended),
        "expires": _timestamp(job.expires),
        "counts": {"total": job.counts.total, **asdict(job.counts)},
        "progress": round(job.progress, 3),
        "seconds_left": None if seconds_left is None else round(seconds_left, 1),
        "links": {"self": path, "events": f"{path}/events", "results": f"{path}/results.zip"},
    }
    return described if items is None else described | {"items": [describe_item(job, item) for item in items]}


def describe_item(job: Job, item: Item) -> dict[str, Any]:
    """Return an item of a job as JSON types."""
    return {
        "number": item.number,
        "name": item.name,
        "state": item.state.value,
        "error": None if item.error is None else _error(item.error, reference(job.id, item.number)),
        "results": [_result(job, item, output) for output in item.outputs],
    }


def short_id(job_id: str) -> str:
    """Return the beginning of a job's id, for logs and file names: without API keys the id is a secret."""
    return job_id[:8]


def reference(job_id: str, number: int) -> str:
    """Return the request id of an item, for the log."""
    return f"job-{short_id(job_id)}-{number}"


def _result(job: Job, item: Item, output: Output) -> dict[str, Any]:
    link = f"/jobs/{job.id}/items/{item.number}"
    return {
        "preset": output.variant,
        "name": output.path.rpartition("/")[2],
        "mimetype": output.mimetype,
        "size": output.size,
        "sha256": output.sha256,
        "width": output.width,
        "height": output.height,
        "model": output.model,
        "confidence": output.confidence,
        "link": f"{link}?preset={quote(output.variant, safe='')}" if len(job.variants) > 1 else link,
    }


def _error(error: ItemError, request_id: str) -> dict[str, Any]:
    """Return an error in the shape of all errors of the native dialect."""
    return {
        "error": error.title,
        "message": error.message,
        "code": error.code,
        "statusCode": error.status,
        "solution": error.solution,
        "details": error.details,
        "request_id": request_id,
    }


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
