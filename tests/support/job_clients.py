"""Clients of jobs over HTTP: an application over the pretended engine, forms, and work on what is queued."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.http.services import services_of
from app.jobs.service import JobService
from tests.support.photos import encoded, jpeg, photo
from tests.support.waiting import wait_until

__all__ = ["base64_photo", "form", "jobs_of", "photos", "post", "small_photo", "stored_files", "work"]


@cache
def small_photo() -> bytes:
    """Return a photo of 600 bytes, so that a form of many stays in memory."""
    return encoded(photo("cat").resize((16, 16)), "JPEG")


def base64_photo(content: bytes = b"") -> str:
    """Return a photo, or other content, as base64."""
    return base64.b64encode(content or jpeg()).decode()


def photos(count: int) -> list[tuple[str, bytes]]:
    """Return names and contents of photos."""
    return [(f"photo-{number}.jpg", small_photo()) for number in range(1, count + 1)]


def form(files: Iterable[tuple[str, bytes]], field: str = "file", **fields: Any) -> dict[str, Any]:
    """Return a multipart form of these files."""
    return {field: [(io.BytesIO(content), name) for name, content in files], **fields}


def post(client: FlaskClient, count: int = 1, path: str = "/jobs", **options: Any) -> TestResponse:
    """Submit a job of some photos."""
    fields = options.pop("fields", {})
    return client.post(path, data=form(photos(count), **fields), **options)


def jobs_of(client: FlaskClient) -> JobService:
    """Return the jobs of a client's application."""
    jobs = services_of(client.application).jobs
    assert jobs is not None
    return jobs


def work(client: FlaskClient) -> None:
    """Process all queued photos."""
    jobs = jobs_of(client)
    jobs.start()
    wait_until(lambda: (state := jobs.queue_state()).queued + state.running == 0)


def stored_files(folder: Path) -> list[Path]:
    """Return the files of all jobs, incomplete ones included."""
    # `rglob` fails where the service deletes a folder meanwhile.
    return [Path(parent, name) for parent, _, names in os.walk(folder / "files") for name in names]
