"""The clients of the soak: each posts photos of the mix, one after the other, and tries again when it is asked to."""

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
# Where the service does not say when to come back.
RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Outcome:
    """What became of one photo: the status of each try, 0 where no answer came."""

    photo: Photo
    statuses: list[int] = field(default_factory=list)
    transport_errors: list[str] = field(default_factory=list)
    latency_ms: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Tell whether the photo came back without its background."""
        return self.statuses[-1] == 200


@dataclass(frozen=True, slots=True)
class Soak:
    """A run: its start on the clock of `time.monotonic()`, its length without the last photos, and with them."""

    started: float
    seconds: float
    until_idle: float
    photos: Sequence[Photo]
    outcomes: list[Outcome]


def run_soak(port: int, photos: Sequence[Photo], clients: int, seconds: float, seed: int) -> Soak:
    """Have `clients` threads post for `seconds`, then finish the photos under way."""
    outcomes: list[Outcome] = []
    started = time.monotonic()
    # Text, since numbers next to each other may seed alike.
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
    """Post until there is an answer that is no refusal, TRIES times at most; wait as told after each refusal."""
    outcome = Outcome(photo)
    while len(outcome.statuses) < TRIES:
        wait = _try(port, post, outcome)
        if wait is None:
            break
        outcome.waits.append(wait)
        time.sleep(wait)
    return outcome


def _try(port: int, post: Post, outcome: Outcome) -> float | None:
    """Post once and return the seconds to wait before the next try, None when there shall be none."""
    # A connection for each try: one that is kept may be closed by the service at any time, and that is no failure.
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
