"""Checks at run time, with a real engine."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.cli.doctor import runtime
from app.cli.doctor.findings import Level
from app.jobs.service import DATABASE
from app.jobs.sqlite_store import SqliteStore
from app.observability.disk import DiskSpace
from app.settings import Settings
from tests.support.configuration import ENGINE
from tests.support.photos import opened
from tests.support.service import closed_port, free_port

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


def test_output(tmp_path: Path) -> None:
    assert runtime.check_output(tmp_path / "a/b").level is OK
    (tmp_path / "file").touch()
    assert runtime.check_output(tmp_path / "file").level is WARN
    assert runtime.check_output(tmp_path / "file/deeper").level is WARN


def test_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(jobs_dir=tmp_path / "jobs")
    assert runtime.check_jobs(settings).level is OK
    assert not settings.jobs_dir.exists()
    store = SqliteStore(settings.jobs_dir / DATABASE, 100)
    store.has_work()
    store.close()
    assert runtime.check_jobs(settings).level is OK
    monkeypatch.setattr(runtime, "least_space", lambda folders: DiskSpace(10**9, 10**12))
    assert runtime.check_jobs(settings).level is WARN
    (settings.jobs_dir / DATABASE).write_bytes(b"not a database" * 1000)
    finding = runtime.check_jobs(settings)
    assert finding.level is FAIL and "damaged" in finding.found


def test_jobs_without_a_writable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = runtime.check_jobs(Settings(jobs_dir=tmp_path / "file"))
    assert finding.level is FAIL and "JOBS_DIR" in finding.advice


def test_jobs_that_are_off() -> None:
    assert runtime.check_jobs(Settings(jobs_backend="off")).level is OK


@contextmanager
def server(body: bytes) -> Iterator[int]:
    """Answer every GET with this body; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running.server_port
        running.shutdown()


@pytest.mark.parametrize(
    ("body", "level", "found"),
    [
        (json.dumps({"status": "healthy", "name": "Cut"}).encode(), OK, "Cut answers on"),
        (json.dumps({"status": "degraded", "name": "Cut"}).encode(), WARN, ": degraded"),
        (json.dumps({"status": "unhealthy", "name": "Cut"}).encode(), FAIL, ": unhealthy"),
        (b"<html>", FAIL, "in use by another program"),
        (b"[]", FAIL, "in use by another program"),
    ],
)
def test_a_port_in_use(body: bytes, level: Level, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "HEALTH_SECONDS", 300.0)
    with server(body) as port:
        finding = runtime.check_port(Settings(host="127.0.0.1", port=port))
    assert finding.level is level and found in finding.found


def test_a_free_port_and_a_foreign_address() -> None:
    assert runtime.check_port(Settings(host="127.0.0.1", port=free_port())).level is OK
    finding = runtime.check_port(Settings(host="192.0.2.1"))
    assert finding.level is FAIL and "HOST" in finding.advice


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"rate_limit_storage": "redis", "redis_url": "redis://:sesame@127.0.0.1:{port}/0"}, "REDIS_URL: "),
        ({"cache_url": "redis://:sesame@127.0.0.1:{port}/0"}, "CACHE_URL: "),
    ],
)
def test_an_absent_redis(settings: dict[str, str], found: str) -> None:
    with closed_port() as port:
        chosen: dict[str, Any] = {name: value.format(port=port) for name, value in settings.items()}
        finding = runtime.check_redis(Settings(**chosen))
    assert finding.level is FAIL and finding.found.startswith(found) and "sesame" not in finding.found


def test_a_redis_that_is_not_in_use() -> None:
    assert runtime.check_redis(Settings(cache_url=SecretStr("memory://"))).found == "not in use"


def test_an_engine_without_weights(tmp_path: Path) -> None:
    finding = runtime.check_engine(replace(ENGINE, model="silueta", rembg_home=str(tmp_path)))
    assert finding.level is FAIL and "MODEL_UNAVAILABLE" in finding.found and "models pull silueta" in finding.advice


def test_an_engine_writes_no_log_file(tmp_path: Path) -> None:
    finding = runtime.check_engine(replace(ENGINE, log_file=str(tmp_path / "logs/service.log"), log_level="DEBUG"))
    assert finding.level is OK and list(tmp_path.iterdir()) == []


def test_an_engine_without_memory() -> None:
    finding = runtime.check_engine(replace(ENGINE, memory_mb=64))
    assert finding.level is FAIL and finding.advice.startswith("Raise ENGINE_MEMORY_MB")


def test_an_engine_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    finding = runtime.check_engine(ENGINE)
    assert finding.level is FAIL and finding.found.startswith("processing a photo failed")


def test_the_small_photo_is_valid() -> None:
    image = opened(runtime.small_photo())
    assert (image.size, image.mode, image.getpixel((32, 32))) == ((64, 64), "RGB", (230, 152, 92))
