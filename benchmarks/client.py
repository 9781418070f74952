"""Load: threads that post photos, and their results.

They share the machine's cores with the service, so requests are built once, connections of `run_load` are persistent,
and answers are neither decoded nor stored.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path

from benchmarks.server import HOST

__all__ = [
    "ANSWER_SECONDS",
    "PAUSE_SECONDS",
    "STAGES",
    "Answer",
    "Load",
    "Post",
    "ask",
    "median",
    "p95",
    "run_clients",
    "run_load",
]

PATH = "/remove-background"
BOUNDARY = "benchmarks-photo-boundary"
# Bytes of a file to read and send at a time.
PIECE = 1 << 16
# Stages of a photo, as named in Server-Timing.
STAGES = ("decode", "infer", "cutout", "encode")
# Longer than the default of REQUEST_TIMEOUT, so that the service's own 504 is counted.
ANSWER_SECONDS = 130.0
# Pause after a refusal, so that refused clients don't use up the cores.
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Post:
    """A request, built once; a path is read while it is sent, so that no client holds a photo in memory."""

    parts: tuple[bytes | Path, ...] = field(repr=False)
    headers: dict[str, str]
    path: str = PATH

    @classmethod
    def of_photo(
        cls,
        photo: bytes | Path,
        mimetype: str = "image/jpeg",
        path: str = PATH,
        fields: Mapping[str, str] | None = None,
    ) -> Post:
        """Return a form with a photo as the field `file` after other fields, which accepts PNG."""
        text = "".join(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in (fields or {}).items()
        )
        head = (
            f"{text}--{BOUNDARY}\r\n"
            'Content-Disposition: form-data; name="file"; filename="photo"\r\n'
            f"Content-Type: {mimetype}\r\n\r\n"
        )
        parts = (head.encode("ascii"), photo, f"\r\n--{BOUNDARY}--\r\n".encode("ascii"))
        return cls._of(parts, f"multipart/form-data; boundary={BOUNDARY}", path)

    @classmethod
    def of_photos(cls, photos: Sequence[Path], path: str) -> Post:
        """Return a form with many JPEGs as fields `file`."""
        parts: list[bytes | Path] = []
        for photo in photos:
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{photo.name}"\r\n'
            parts += [f"{head}Content-Type: image/jpeg\r\n\r\n".encode("ascii"), photo, b"\r\n"]
        parts.append(f"--{BOUNDARY}--\r\n".encode("ascii"))
        return cls._of(tuple(parts), f"multipart/form-data; boundary={BOUNDARY}", path)

    @classmethod
    def raw(cls, photo: bytes | Path, mimetype: str = "image/jpeg") -> Post:
        """Return a request with a photo as its body, which accepts PNG."""
        return cls._of((photo,), mimetype, PATH)

    @classmethod
    def _of(cls, parts: tuple[bytes | Path, ...], content_type: str, path: str) -> Post:
        length = sum(len(part) if isinstance(part, bytes) else part.stat().st_size for part in parts)
        return cls(parts, {"Content-Type": content_type, "Content-Length": str(length), "Accept": "image/png"}, path)

    def body(self) -> Iterator[bytes]:
        """Yield the body in pieces."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                with part.open("rb", buffering=0) as file:
                    yield from iter(partial(file.read, PIECE), b"")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; its body is read but not stored."""

    status: int
    headers: HTTPMessage
    length: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """Result of a run; times are those of answered photos, None without any.

    `beyond_stages_ms` is the median time of a photo outside of decode, infer, cutout and encode; `client_cpu_ms` is the
    CPU time of the clients per photo.
    """

    clients: int
    seconds: float
    photos: int
    photos_per_second: float
    median_ms: float | None
    p95_ms: float | None
    stages_ms: dict[str, float]
    beyond_stages_ms: float | None
    client_cpu_ms: float | None
    answer_bytes: int
    failures: dict[str, int]


@dataclass(slots=True)
class _Tally:
    """Counts of one client."""

    latencies_ms: list[float] = field(default_factory=list)
    timings: list[dict[str, float]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    answer_bytes: int = 0

    def add(self, answer: Answer) -> bool:
        """Count an answer and return whether it is a photo."""
        if answer.status != 200:
            self.failures[str(answer.status)] += 1
            return False
        self.latencies_ms.append(answer.milliseconds)
        self.timings.append(_stages(answer.headers.get("Server-Timing", "")))
        self.answer_bytes = answer.length
        return True


def ask(connection: HTTPConnection, post: Post) -> Answer:
    """Post once and read the answer; raise OSError or HTTPException without one."""
    started = time.perf_counter()
    try:
        connection.request("POST", post.path, post.body(), post.headers)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a refusal may arrive before the photo is sent, and is then in our buffer
    response = connection.getresponse()
    length = len(response.read())
    return Answer(response.status, response.headers, length, (time.perf_counter() - started) * 1000)


def run_clients(clients: Sequence[Callable[[threading.Event], None]], seconds: float) -> float:
    """Run each client on a thread, stop them after `seconds`, and return the total time."""
    stop = threading.Event()
    threads = [threading.Thread(target=client, args=(stop,), name="client", daemon=True) for client in clients]
    started = time.perf_counter()
    try:
        for thread in threads:
            thread.start()
        time.sleep(seconds)
    finally:
        stop.set()  # also on Ctrl-C, so that no request is left to the service
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def median(values: Sequence[float]) -> float | None:
    """Return the median, None without values."""
    return statistics.median(values) if values else None


def p95(values: Sequence[float]) -> float | None:
    """Return the 95th percentile, None without values."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1] if values else None


def run_load(port: int, post: Post, clients: int, seconds: float) -> Load:
    """Post from `clients` threads for `seconds`, then wait for the running photos."""
    tallies = [_Tally() for _ in range(clients)]
    return _summary(tallies, run_clients([partial(_client, port, post, tally) for tally in tallies], seconds))


def _client(port: int, post: Post, tally: _Tally, stop: threading.Event) -> None:
    connection = HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    while not stop.is_set():
        try:
            answered = tally.add(ask(connection, post))
        except (OSError, HTTPException) as error:
            tally.failures[type(error).__name__] += 1
            connection.close()
            answered = False
        if not answered:
            stop.wait(PAUSE_SECONDS)
    connection.close()
    tally.cpu_seconds = time.thread_time()


def _summary(tallies: list[_Tally], seconds: float) -> Load:
    latencies = [latency for tally in tallies for latency in tally.latencies_ms]
    timings = [timing for tally in tallies for timing in tally.timings]
    beyond = [
        latency - sum(timing.get(stage, 0.0) for stage in STAGES)
        for latency, timing in zip(latencies, timings, strict=True)
        if timing
    ]
    return Load(
        clients=len(tallies),
        seconds=seconds,
        photos=len(latencies),
        photos_per_second=len(latencies) / seconds,
        median_ms=median(latencies),
        p95_ms=p95(latencies),
        stages_ms=_stage_medians(timings),
        beyond_stages_ms=median(beyond),
        client_cpu_ms=sum(tally.cpu_seconds for tally in tallies) * 1000 / len(latencies) if latencies else None,
        answer_bytes=max(tally.answer_bytes for tally in tallies),
        failures=dict(sum((tally.failures for tally in tallies), Counter())),
    )


def _stages(timing: str) -> dict[str, float]:
    """Parse a Server-Timing header such as `queue;dur=0.1, decode;dur=3.4`."""
    entries = (entry.partition(";dur=") for entry in filter(None, timing.split(", ")))
    return {name: float(duration) for name, _, duration in entries}


def _stage_medians(timings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    stages: dict[str, list[float]] = defaultdict(list)
    for timing in timings:
        for name, duration in timing.items():
            stages[name].append(duration)
    return {name: statistics.median(durations) for name, durations in stages.items()}
