"""Photos, and applications over a real or a pretended engine."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from app.engine.messages import EngineConfig
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.http.factory import build_app
from app.settings import Settings
from tests.doubles import FakePool

# Limits are off in all tests but their own, and in benchmarks.
NO_LIMITS: dict[str, Any] = dict.fromkeys((name for name in Settings.model_fields if "rate_limit_" in name), 0)
del NO_LIMITS["rate_limit_storage"]
ENGINE = EngineConfig(model="lite", threads=2, max_pixels=25_000_000, max_pixels_hard=100_000_000)


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> None:
    """Keep the developer's own settings out of the tests."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


@cache
def photo(name: str) -> Image.Image:
    """Return one of scikit-image's public-domain photos: astronaut, cat or coffee."""
    return Image.fromarray(getattr(skimage.data, name)())


@cache
def jpeg(name: str = "astronaut") -> bytes:
    return encoded(photo(name), "JPEG", quality=92)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """A log file; restores pytest's own handlers afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield tmp_path / "service.log"
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition; fail the test when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def stalled_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have every look-up of a host's name wait until the test has ended; return whose names were looked up."""
    over, asked = threading.Event(), list[str]()

    def look_up(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        over.wait()
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    yield asked
    over.set()


@pytest.fixture(scope="session")
def pool() -> Iterator[EnginePool]:
    """A real pool of one engine with the embedded model."""
    pool = EnginePool(ENGINE, 1, RemovalQueue(capacity=5, body_slots=5))
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture(scope="session")
def real_app(pool: EnginePool) -> Flask:
    return build_app(Settings(**NO_LIMITS), lambda *_: pool)


@pytest.fixture
def client(real_app: Flask) -> FlaskClient:
    """A client of an application with a real engine."""
    return real_app.test_client()


@pytest.fixture
def fake_pool() -> FakePool:
    return FakePool()


@pytest.fixture
def make_client(fake_pool: FakePool) -> Callable[..., FlaskClient]:
    """Build a client of an application with given settings over the pretended engine."""

    def make(**settings: object) -> FlaskClient:
        return build_app(Settings(**NO_LIMITS | settings), fake_pool.attach).test_client()

    return make


@pytest.fixture
def fast_client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of an application over the pretended engine, for what never reaches a real one."""
    return make_client()
