"""Client of jobs: one body with many photos, progress, and the ZIP of the results."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from benchmarks.client import ANSWER_SECONDS, PAUSE_SECONDS, Post, ask
from benchmarks.server import HOST, ServiceFailed

__all__ = ["JobClient", "JobRun", "Latencies"]

PIECE = 1 << 16
# Between two looks at a job.
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class JobRun:
    """Result of a job; `seconds` are those from the request's start to the last photo."""

    photos: int
    body_bytes: int
    seconds: float
    link: str

    @property
    def photos_per_second(self) -> float:
        """Return the rate, the body's time included."""
        return self.photos / self.seconds


class JobClient:
    """Client of one service; raises ServiceFailed for any other answer than the expected one."""

    def __init__(self, port: int) -> None:
        self._port = port

    def run(self, photos: Sequence[Path], parameters: str = "") -> JobRun:
        """Send a job and wait for its end."""
        started = time.monotonic()
        job = self.send(photos, parameters)
        link = job["links"]["self"]
        while job["state"] not in ("done", "cancelled"):
            time.sleep(min(MAX_POLL_SECONDS, max(MIN_POLL_SECONDS, (job["seconds_left"] or 0) / 2)))
            job = self._json("GET", link, 200)
        ended = time.monotonic()
        if job["counts"]["done"] != len(photos):
            raise ServiceFailed(f"Job with {job['counts']}: {[item['error'] for item in job['items']][:3]}")
        size = sum(photo.stat().st_size for photo in photos)
        return JobRun(len(photos), size, ended - started, link)

    def send(self, photos: Sequence[Path], parameters: str = "") -> dict[str, Any]:
        """Send a job and return it."""
        post = Post.of_photos(photos, f"/jobs?files={len(photos)}{parameters}")
        with closing(self._connection()) as connection:
            connection.request("POST", post.path, post.body(), post.headers)
            return _parsed(connection.getresponse(), 202)

    def download(self, link: str) -> int:
        """Read the ZIP of a job without storing it; return its bytes."""
        with closing(self._connection()) as connection:
            connection.request("GET", f"{link}/results.zip")
            response = connection.getresponse()
            if response.status != 200:
                raise ServiceFailed(f"{link}/results.zip: {response.status} {response.read(300)!r}")
            return sum(map(len, iter(partial(response.read, PIECE), b"")))

    def delete(self, link: str) -> None:
        """Delete a job."""
        self._json("DELETE", link, 204)

    def _json(self, method: str, link: str, status: int) -> dict[str, Any]:
        with closing(self._connection()) as connection:
            connection.request(method, link)
            return _parsed(connection.getresponse(), status)

    def _connection(self) -> HTTPConnection:
        return HTTPConnection(HOST, self._port, timeout=ANSWER_SECONDS)


def _parsed(response: HTTPResponse, status: int) -> dict[str, Any]:
    body = response.read()
    if response.status != status:
        raise ServiceFailed(f"Answer {response.status} instead of {status}: {body[:500]!r}")
    return dict(json.loads(body)) if body else {}


class Latencies:
    """Times of an interactive client, which posts a photo again and again, with pauses, while the block runs."""

    def __init__(self, port: int, post: Post, pause: float) -> None:
        self.milliseconds: list[float] = []
        self.failures: list[int] = []
        self._port, self._post, self._pause = port, post, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interactive", daemon=True)

    def __enter__(self) -> Latencies:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = HTTPConnection(HOST, self._port, timeout=ANSWER_SECONDS)
        while not self._stop.wait(self._pause):
            answer = ask(connection, self._post)
            if answer.status == 200:
                self.milliseconds.append(answer.milliseconds)
            else:
                self.failures.append(answer.status)
                self._stop.wait(PAUSE_SECONDS)
        connection.close()
