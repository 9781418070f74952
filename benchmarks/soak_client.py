"""Clients of the soak test: each posts photos of the mix, one after the other, and retries as told by Retry-After."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from random import Random

from benchmarks.client import ANSWER_SECONDS, PAUSE_SECONDS, Answer, Post, ask, run_clients
from benchmarks.photos import Photo
from benchmarks.server import HOST

__all__ = ["TRIES", "Outcome", "Soak", "run_soak"]

TRIES = 3
REFUSALS = {429, 503}
# Wait without a Retry-After.
RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Outcome:
    """Outcome of one photo, posted at a time of `time.monotonic()`: the status of each try, 0 without an answer."""

    photo: Photo
    posted: float = field(default_factory=time.monotonic)
    statuses: list[int] = field(default_factory=list)
    transport_errors: list[str] = field(default_factory=list)
    latency_ms: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Return whether the last try gave a result."""
        return self.statuses[-1] == 200


@dataclass(frozen=True, slots=True)
class Soak:
    """A run: its start as a time of `time.monotonic()`, its length without the last photos, and with them."""

    started: float
    seconds: float
    until_idle: float
    photos: Sequence[Photo]
    outcomes: list[Outcome]


def run_soak(port: int, photos: Sequence[Photo], clients: int, seconds: float, seed: int) -> Soak:
    """Post from `clients` threads for `seconds`, then finish the running photos."""
    outcomes: list[Outcome] = []
    started = time.monotonic()
    # Text, because adjacent numbers may give similar sequences.
    visitors = [partial(_visit, port, photos, Random(f"{seed} {number}"), outcomes) for number in range(clients)]  # noqa: S311
    return Soak(started, seconds, run_clients(visitors, seconds), photos, outcomes)


def _visit(port: int, photos: Sequence[Photo], random: Random, outcomes: list[Outcome], stop: threading.Event) -> None:
    weights = [photo.weight for photo in photos]
    while not stop.is_set():
        photo = random.choices(photos, weights)[0]
        wrap = random.choice((Post.of_photo, Post.raw))
        outcome = _deliver(port, photo, wrap(photo.path, photo.mimetype))
        outcomes.append(outcome)
        if not (outcome.succeeded or outcome.waits):
            stop.wait(PAUSE_SECONDS)


def _deliver(port: int, photo: Photo, post: Post) -> Outcome:
    """Post until an answer is not a refusal, at most TRIES times; wait as told after each refusal."""
    outcome = Outcome(photo)
    while len(outcome.statuses) < TRIES:
        wait = _try(port, post, outcome)
        if wait is None:
            break
        outcome.waits.append(wait)
        time.sleep(wait)
    return outcome


def _try(port: int, post: Post, outcome: Outcome) -> float | None:
    """Post once and return the seconds to wait before the next try, None if there is none."""
    # A new connection for each try: the service may close an idle one at any time, which is not a failure.
    connection = HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    try:
        answer = ask(connection, post)
    except (OSError, HTTPException) as error:
        outcome.transport_errors.append(type(error).__name__)
        outcome.statuses.append(0)
        return RETRY_SECONDS
    finally:
        connection.close()
    outcome.statuses.append(answer.status)
    outcome.latency_ms = answer.milliseconds
    return _retry_after(answer) if answer.status in REFUSALS else None


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else RETRY_SECONDS
