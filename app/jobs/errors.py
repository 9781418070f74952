# ruff: noqa: D101  # title and message describe each class
"""Errors of jobs, besides those of all requests."""

from __future__ import annotations

from app.errors import Forbidden, InternalError, PayloadTooLarge, ServiceError, Unavailable

__all__ = [
    "IdempotencyConflict",
    "JobsNotListed",
    "JobsUnavailable",
    "PhotoUnreadable",
    "ResultNotReady",
    "TooManyPhotos",
]


class JobsUnavailable(Unavailable):
    code = "JOBS_UNAVAILABLE"
    title = "Jobs unavailable"
    default_message = "Jobs cannot be accepted or read now."
    solution = "Retry later; single photos at /remove-background do not depend on it."
    default_retry_after = 30


class IdempotencyConflict(ServiceError):
    status = 409
    code = "IDEMPOTENCY_CONFLICT"
    title = "Idempotency key in use"
    default_message = "The Idempotency-Key was used for a job with other photos or options."
    solution = "Send a new Idempotency-Key for each job, and the same one only to repeat a request."


class JobsNotListed(Forbidden):
    code = "JOBS_NOT_LISTED"
    title = "Jobs are not listed"
    default_message = "This server needs no API key, so it cannot tell whose jobs to list."
    solution = "Keep the Location of each job, or set API_KEYS on the server."


class PhotoUnreadable(InternalError):
    code = "PHOTO_UNREADABLE"
    title = "Photo unreadable"
    default_message = "A stored file of this photo cannot be read, though the storage of jobs works."
    solution = "Send the photo again, in another job."


class ResultNotReady(ServiceError):
    status = 409
    code = "RESULT_NOT_READY"
    title = "Result not ready"
    default_message = "This photo of the job is not finished."
    solution = "Retry after the number of seconds in Retry-After, or follow the job's events."
    default_retry_after = 2


class TooManyPhotos(PayloadTooLarge):
    code = "TOO_MANY_PHOTOS"
    title = "Too many photos"
    default_message = "The job has too many photos."
    solution = "Divide the photos among several jobs."
