"""Log line of each request, in text or JSON, without private data."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from app.errors import EngineCrashed
from app.http import request_log
from app.settings import Settings
from tests.support.doubles import FakePool, failing
from tests.support.log_lines import json_lines
from tests.support.photos import jpeg

URL = "/remove-background"


@pytest.fixture
def configured(log_file: Path, make_client: Callable[..., FlaskClient]) -> Callable[..., FlaskClient]:
    def configure(form: str, **settings: object) -> FlaskClient:
        request_log.configure(Settings(log_format=form, log_file=log_file))
        return make_client(**settings)

    return configure


def request_line(path: Path) -> dict[str, Any]:
    (line,) = [line for line in json_lines(path) if line["logger"] == "app.requests"]
    return line


def test_a_request_is_one_json_object(configured: Callable[..., FlaskClient], log_file: Path) -> None:
    client, started = configured("json"), time.monotonic()
    response = client.post(URL, data=jpeg(), headers={"X-Request-ID": "abc"})
    seconds = time.monotonic() - started
    line = request_line(log_file)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert re.fullmatch(r"[0-9a-f]{12}", line.pop("client"))
    assert 0 <= line.pop("ms") <= 1000 * seconds + 1  # rounded
    assert line.pop("pid") > 0
    assert line == {
        "level": "INFO",
        "logger": "app.requests",
        "request_id": "abc",
        "message": "request",
        "method": "POST",
        "path": URL,
        "status": 200,
        "bytes_in": len(jpeg()),
        "bytes_out": len(response.data),
        "pixels": 240_000,  # from the fake pool
        "model": "lite",
        "stages": {"queue": 0.1, "infer": 2.0},
    }


def test_a_request_is_one_line_of_text(configured: Callable[..., FlaskClient], log_file: Path) -> None:
    configured("text").post(URL, data=jpeg(), headers={"X-Request-ID": "abc"})
    (line,) = [line for line in log_file.read_text().splitlines() if "app.requests" in line]
    assert re.search(
        r"request_id=abc method=POST path='/remove-background' status=200 ms=[\d.]+ bytes_in=\d+ bytes_out=7"
        r" pixels=240000 model=lite stages=queue:0.1,infer:2.0 client=[0-9a-f]{12}$",
        line,
    )


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_probes_are_logged_at_debug(
    path: str, configured: Callable[..., FlaskClient], log_file: Path, fake_pool: FakePool
) -> None:
    client = configured("json")
    client.get(path)
    assert log_file.read_text() == ""
    logging.getLogger().setLevel(logging.DEBUG)
    client.get(path)
    assert request_line(log_file)["level"] == "DEBUG"


def test_a_failed_health_probe_is_logged_at_info(
    configured: Callable[..., FlaskClient], log_file: Path, fake_pool: FakePool
) -> None:
    client = configured("json")
    fake_pool.queue.drain()
    client.get("/health/ready")
    line = request_line(log_file)
    assert (line["level"], line["status"]) == ("INFO", 503)


def test_unknown_values_are_dashes(configured: Callable[..., FlaskClient], log_file: Path) -> None:
    configured("text").get("/docs")
    assert "bytes_in=0 bytes_out=" in log_file.read_text() and "pixels=- model=- stages=- " in log_file.read_text()


@pytest.mark.parametrize("form", ["text", "json"])
def test_events_of_an_image_are_logged(
    configured: Callable[..., FlaskClient], log_file: Path, fake_pool: FakePool, form: str
) -> None:
    client = configured(form)
    client.post(URL, data=jpeg())
    client.post(URL, data=jpeg(), query_string={"quality": "1000"})
    failing(fake_pool, EngineCrashed())
    client.post(URL, data=jpeg())
    text = log_file.read_text()
    assert [text.count(f"image.{event} ") for event in ("received", "succeeded", "refused", "failed")] == [3, 1, 1, 1]


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_private_is_logged(
    configured: Callable[..., FlaskClient], log_file: Path, fake_pool: FakePool, tmp_path: Path, form: str
) -> None:
    client = configured(form, api_keys=(SecretStr("the-key"),), upload_dir=tmp_path / "up")
    logging.getLogger().setLevel(logging.DEBUG)
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "holiday.jpg").write_bytes(jpeg())
    for key in ("the-key", "wrong-key"):
        headers = {"X-Api-Key": key, "X-Forwarded-For": "203.0.113.7"}
        upload = {"file": (tmp_path / "up" / "holiday.jpg").open("rb")}
        client.post(f"{URL}?token=in-the-query", data=upload, headers=headers)
        client.post("/read-file", json={"path": "holiday.jpg"}, headers=headers)
        client.post("/read-file", json={"path": "../holiday.jpg"}, headers=headers)
    text = log_file.read_text()
    for private in ("the-key", "wrong-key", "holiday", "in-the-query", "127.0.0.1", "203.0.113.7", "JFIF", "/9j/"):
        assert private not in text, private


def test_a_line_break_in_a_path_is_escaped(configured: Callable[..., FlaskClient], log_file: Path) -> None:
    client = configured("text")
    client.get("/a%0A2026-01-01 INFO forged status=200")
    assert len(log_file.read_text().splitlines()) == 1
    assert r"path='/a\n2026-01-01 INFO forged status=200' status=404" in log_file.read_text()


def test_an_exception_is_part_of_the_json_object(
    configured: Callable[..., FlaskClient], log_file: Path, fake_pool: FakePool
) -> None:
    failing(fake_pool, RuntimeError("unexpected"))
    configured("json").post(URL, data=jpeg())
    (line,) = [line for line in json_lines(log_file) if "exception" in line]
    assert line["level"] == "ERROR" and "unexpected" in line["exception"]


def test_each_client_has_its_own_hash(configured: Callable[..., FlaskClient], log_file: Path) -> None:
    client = configured("json", api_keys=(SecretStr("a"), SecretStr("b")))
    for key in ("a", "a", "b"):
        client.post(URL, data=jpeg(), headers={"X-Api-Key": key})
    client.get("/docs")
    client.get("/docs", environ_base={"REMOTE_ADDR": "10.0.0.9"})
    hashes = [line["client"] for line in json_lines(log_file) if line["logger"] == "app.requests"]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


def test_the_path_does_not_reveal_the_id_of_a_job(
    configured: Callable[..., FlaskClient], log_file: Path, tmp_path: Path
) -> None:
    job_id = "0123456789abcdef" * 2
    configured("json", jobs_dir=tmp_path / "jobs").get(f"/jobs/{job_id}/items/1")
    assert request_line(log_file)["path"] == "/jobs/01234567.../items/1"
    assert job_id not in log_file.read_text()
