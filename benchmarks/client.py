"""The load: a few threads that post one photo over and over, and what they saw.

It shares the machine's cores with the service, so the request is built once, connections are kept, and answers are
neither decoded nor kept.
"""

from __future__ import annotations

import io
import math
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse

from PIL import Image, ImageOps

from benchmarks.server import HOST

__all__ = ["Load", "Post", "run_load", "sample_photo"]

PHOTO_SIZE = (1000, 667)
PATH = "/remove-background"
BOUNDARY = "benchmarks-photo-boundary"
# Longer than REQUEST_TIMEOUT's default, so that the service's own 504 is what is counted.
ANSWER_SECONDS = 130.0
# A client that is refused at once must not eat the cores of those that are served.
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Post:
    """A multipart request, built once."""

    body: bytes = field(repr=False)
    headers: dict[str, str]

    @classmethod
    def of_photo(cls, photo: bytes) -> Post:
        """Wrap a JPEG as the field `file`, with PNG as the answer."""
        head = (
            f"--{BOUNDARY}\r\n"
            'Content-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode("ascii") + photo + f"\r\n--{BOUNDARY}--\r\n".encode("ascii")
        return cls(body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Accept": "image/png"})


@dataclass(frozen=True, slots=True)
class Load:
    """What a run gave; only answered photos count in the times, None when there was none."""

    clients: int
    seconds: float
    photos: int
    photos_per_second: float
    median_ms: float | None
    p95_ms: float | None
    stages_ms: dict[str, float]
    answer_bytes: int
    failures: dict[str, int]


@dataclass(slots=True)
class _Tally:
    """What one client saw."""

    latencies_ms: list[float] = field(default_factory=list)
    timings: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    answer_bytes: int = 0

    def add(self, response: HTTPResponse, length: int, milliseconds: float) -> bool:
        """Count an answer and tell whether it is a photo."""
        if response.status != 200:
            self.failures[str(response.status)] += 1
            return False
        self.latencies_ms.append(milliseconds)
        self.timings.append(response.headers.get("Server-Timing", ""))
        self.answer_bytes = length
        return True


def sample_photo() -> bytes:
    """Make the default photo: scikit-image's astronaut, cropped to 3:2 and scaled, as a JPEG."""
    from skimage import data  # here, so that an own photo needs no scikit-image

    portrait = Image.fromarray(data.astronaut()).convert("RGB")
    photo = ImageOps.fit(portrait, PHOTO_SIZE, Image.Resampling.LANCZOS, centering=(0.5, 0.0))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def run_load(port: int, post: Post, clients: int, seconds: float) -> Load:
    """Have `clients` threads post for `seconds`, then wait for the photos under way."""
    tallies = [_Tally() for _ in range(clients)]
    stop = threading.Event()
    threads = [
        threading.Thread(target=_client, args=(port, post, tally, stop), name="client", daemon=True)
        for tally in tallies
    ]
    started = time.perf_counter()
    try:
        for thread in threads:
            thread.start()
        time.sleep(seconds)
    finally:
        stop.set()  # also on Ctrl-C, so that the service has nothing to finish
    for thread in threads:
        thread.join()
    return _summary(tallies, time.perf_counter() - started)


def _client(port: int, post: Post, tally: _Tally, stop: threading.Event) -> None:
    connection = HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    while not stop.is_set():
        try:
            answered = _ask(connection, post, tally)
        except (OSError, HTTPException) as error:
            tally.failures[type(error).__name__] += 1
            connection.close()
            answered = False
        if not answered:
            stop.wait(PAUSE_SECONDS)
    connection.close()


def _ask(connection: HTTPConnection, post: Post, tally: _Tally) -> bool:
    """Post once, drain the answer, and tell whether it is a photo."""
    started = time.perf_counter()
    connection.request("POST", PATH, post.body, post.headers)
    response = connection.getresponse()
    length = len(response.read())
    return tally.add(response, length, (time.perf_counter() - started) * 1000)


def _summary(tallies: list[_Tally], seconds: float) -> Load:
    latencies = sorted(latency for tally in tallies for latency in tally.latencies_ms)
    return Load(
        clients=len(tallies),
        seconds=seconds,
        photos=len(latencies),
        photos_per_second=len(latencies) / seconds,
        median_ms=statistics.median(latencies) if latencies else None,
        p95_ms=latencies[math.ceil(0.95 * len(latencies)) - 1] if latencies else None,
        stages_ms=_stage_medians(timing for tally in tallies for timing in tally.timings),
        answer_bytes=max(tally.answer_bytes for tally in tallies),
        failures=dict(sum((tally.failures for tally in tallies), Counter())),
    )


def _stage_medians(timings: Iterable[str]) -> dict[str, float]:
    """Return the median of each stage of Server-Timing headers such as `queue;dur=0.1, decode;dur=3.4`."""
    stages: dict[str, list[float]] = defaultdict(list)
    for timing in timings:
        for entry in filter(None, timing.split(", ")):
            name, _, duration = entry.partition(";dur=")
            stages[name].append(float(duration))
    return {name: statistics.median(durations) for name, durations in stages.items()}
