"""Clients of applications with jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.job_clients import jobs_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def make_jobs_client(make_client: Callable[..., FlaskClient], folder: Path) -> Iterator[Callable[..., FlaskClient]]:
    """Build a client of an application with jobs over the pretended engine; its threads are ended."""
    made = list[FlaskClient]()

    def make(**settings: object) -> FlaskClient:
        made.append(make_client(jobs_dir=folder, **settings))
        return made[-1]

    yield make
    for client in made:
        jobs_of(client).stop()


@pytest.fixture
def client(make_jobs_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_jobs_client()
