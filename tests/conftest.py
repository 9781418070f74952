"""Applications over a real or a fake engine, services in separate processes, log files, and files of keys."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.http.factory import build_app
from app.redis_link import CLIENT_OPTIONS
from app.settings import Settings
from tests.support.api_keys import sha
from tests.support.clock import Clock
from tests.support.configuration import ENGINE, NO_LIMITS
from tests.support.doubles import FakePool
from tests.support.servers import RedisServer
from tests.support.service import Service, end, free_port, gunicorn
from tests.support.waiting import wait_until

if find_spec("hypothesis"):  # the environment of training lacks it
    from hypothesis import settings

    settings.load_profile("ci")  # the same examples in every run, without a time limit for each


@pytest.fixture(autouse=True, scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the developer's own settings out of the tests, and their jobs out of the project."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    os.environ["JOBS_DIR"] = str(tmp_path_factory.mktemp("jobs"))


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


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Start services with given settings; whatever they leave is ended."""
    running: list[Service] = []

    def start(application: str = "app:create_app()", wrap: Sequence[str] = (), **settings: object) -> Service:
        port = free_port()
        log = tmp_path_factory.mktemp("service") / "log"
        environment = {"HOST": "127.0.0.1", "PORT": str(port)} | {key: str(value) for key, value in settings.items()}
        service = Service(port, log, gunicorn(environment, log, application, wrap))
        running.append(service)
        wait_until(lambda: service.ready() or service.process.poll() is not None)
        assert service.process.poll() is None, log.read_text()
        return service

    yield start
    end(*running)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the module, on loopback."""
    server = RedisServer(free_port(), tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def patient_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have jobs wait for Redis for longer than a busy machine pauses it."""
    for name in ("MAX_WAIT", "SOCKET_SECONDS"):
        monkeypatch.setattr(f"app.jobs.redis_store.{name}", 300.0)
    monkeypatch.setattr("app.jobs.redis_store.CLIENT_OPTIONS", CLIENT_OPTIONS | {"socket_connect_timeout": 300.0})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(
        f"# clients\n\nshop:{sha('shop-key')}:100\n ci.bot : {sha('ci-key').upper()} :  # the general limits\n"
    )
    return path
