"""Job, its items and their outputs. Plain frozen data, as stored and as answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.errors import ServiceError

__all__ = [
    "Counts",
    "Delivery",
    "Item",
    "ItemError",
    "ItemState",
    "Job",
    "JobState",
    "NewItem",
    "NewJob",
    "Output",
    "Variant",
]


class JobState(StrEnum):
    """State of a job; `done` also if items failed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    """State of a photo; `failed` if at least one of its outputs failed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Variant:
    """One output of each photo: the name of its preset, empty for none, and its native parameters as texts."""

    name: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ItemError:
    """Public part of a ServiceError."""

    status: int
    code: str
    title: str
    message: str
    solution: str
    details: str

    @classmethod
    def of(cls, error: ServiceError) -> ItemError:
        """Return the public part of an error."""
        details = error.details or error.message
        return cls(error.status, error.code, error.title, error.message, error.advice, details)


@dataclass(frozen=True, slots=True)
class Output:
    """A result: its variant, its path in the ZIP, its key in the storage, and its properties."""

    variant: str
    path: str
    key: str
    mimetype: str
    size: int
    sha256: str
    width: int
    height: int
    model: str
    confidence: float


@dataclass(frozen=True, slots=True)
class NewItem:
    """A photo of a new job: the key of its file or its URL, and its error if it cannot be processed at all.

    `base` is the name of its outputs without folder and ending, unique within the job; `JobService.submit` sets it.
    """

    name: str
    base: str = ""
    key: str = ""
    url: str = ""
    size: int = 0
    error: ItemError | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored; `owner` is the name of an API key, empty without keys.

    `idempotency_key` is unique within its `client`; `digest` identifies the content. `background` is a key or empty.
    """

    id: str
    owner: str
    variants: tuple[Variant, ...]
    items: tuple[NewItem, ...]
    background: str = ""
    webhook_url: str = ""
    client: str = ""
    idempotency_key: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of items by state."""

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Return the number of all items."""
        return self.queued + self.running + self.finished

    @property
    def finished(self) -> int:
        """Return the number of items that are done or failed."""
        return self.done + self.failed


@dataclass(frozen=True, slots=True)
class Job:
    """A stored job; times are in seconds since 1970, `ended` is None until all items are finished.

    `version` grows with each change of the job or of an item.
    """

    id: str
    owner: str
    state: JobState
    created: float
    started: float | None
    ended: float | None
    expires: float
    counts: Counts
    variants: tuple[Variant, ...]
    background: str = ""
    webhook_url: str = ""
    digest: str = ""
    version: int = 0

    @property
    def progress(self) -> float:
        """Return the share of finished items, 0..1."""
        return self.counts.finished / self.counts.total

    def seconds_left(self, now: float) -> float | None:
        """Return the estimated seconds until the end by the pace of the finished items, None before the first."""
        if self.ended is not None:
            return 0.0
        if self.started is None or not self.counts.finished:
            return None
        pace = (now - self.started) / self.counts.finished
        return max(0.0, pace * (self.counts.total - self.counts.finished))


@dataclass(frozen=True, slots=True)
class Item:
    """A stored photo of a job; `number` begins at 1, `version` is the job's version of its last change."""

    number: int
    name: str
    state: ItemState
    base: str = ""
    key: str = ""
    url: str = ""
    size: int = 0
    error: ItemError | None = None
    outputs: tuple[Output, ...] = field(default=())
    version: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook to be sent: its job, and the number of failed attempts."""

    job_id: str
    url: str
    attempts: int
