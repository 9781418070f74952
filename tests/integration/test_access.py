"""Access and logs on a real gunicorn: keys, SIGHUP, CORS, rotation."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.log_lines import json_lines
from tests.support.photos import jpeg
from tests.support.service import Answer, Service, free_port, gunicorn
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

URL = "/remove-background"
Start = Callable[..., Service]
EXTENSION = "chrome-extension://abcdefghijklmnopabcdefghijklmnop"


def key_line(name: str, key: str) -> str:
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}:1000\n"


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(key_line("shop", "shop-key"))
    return path


@pytest.fixture(scope="module")
def service(start: Start, keys_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Two workers with keys, CORS and a JSON log file."""
    log = tmp_path_factory.mktemp("log") / "service.log"
    service = start(
        ENGINE_PROCESSES=1,
        WEB_CONCURRENCY=2,
        RATE_LIMIT_REMOVE_BG_PER_HOUR=0,
        API_KEYS="env-key",
        API_KEYS_FILE=keys_file,
        CORS_ORIGINS=EXTENSION,
        LOG_FORMAT="json",
        LOG_FILE=log,
        FLASK_DEBUG="1",
    )
    service.log = log
    return service


def replace_keys(keys_file: Path, text: str) -> None:
    """Replace the file at once: a worker would read it twice if it looked while the file is written."""
    new = keys_file.with_name("new")
    new.write_text(text)
    new.replace(keys_file)


def ask(service: Service, key: str = "", path: str = URL) -> Answer:
    return service.request(path, jpeg(), headers={"X-Api-Key": key} if key else None)


def everywhere(service: Service, key: str, status: int) -> bool:
    """Return whether every worker answers with this status."""
    return {service.request("/read-file", b"{}", headers={"X-Api-Key": key}).status for _ in range(12)} == {status}


def workers(service: Service) -> set[int]:
    return {process.pid for process in psutil.Process(service.process.pid).children()}


def hang_up(service: Service) -> None:
    """Send SIGHUP to the master and wait until two other workers have taken over."""
    before = workers(service)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(workers(service)) == 2 and not workers(service) & before)


def test_only_keys_give_access(service: Service) -> None:
    assert [ask(service, key).status for key in ("env-key", "shop-key")] == [200, 200]
    assert service.request(URL, jpeg(), headers={"Authorization": "Bearer shop-key"}).status == 200
    refused = [ask(service), ask(service, "nonsense")]
    assert [answer.json["code"] for answer in refused] == ["AUTH_REQUIRED", "AUTH_FAILED"]
    assert [answer.status for answer in refused] == [401, 403]
    assert service.answers("/health/live")


def test_a_large_body_without_a_key_gets_its_answer(service: Service) -> None:
    assert service.request(URL, b"x" * 8_000_000).json["code"] == "AUTH_REQUIRED"


def test_a_preflight_from_an_extension_is_answered(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    for origin, allowed in ((EXTENSION, EXTENSION), ("https://evil.example", None)):
        connection.request("OPTIONS", URL, headers={"Origin": origin} | asked)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, allowed)
    connection.close()
    answered = service.request(URL, jpeg(), headers={"Origin": EXTENSION, "X-Api-Key": "env-key"})
    assert "X-Saved-As" in answered.headers["Access-Control-Expose-Headers"]


def test_answers_reveal_no_versions(service: Service) -> None:
    answer = service.request("/health/live")
    assert answer.headers["Server"] == "gunicorn"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


class Traffic(threading.Thread):
    """Send requests without a pause, each on a new connection, until stopped."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self.service, self.ended, self.seen = service, threading.Event(), list[object]()
        self.start()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.seen.append(ask(self.service, "env-key").status)
            except (OSError, http.client.HTTPException) as error:
                self.seen.append(error)

    def stop(self) -> set[object]:
        self.ended.set()
        self.join(60)
        assert self.seen
        return set(self.seen)


def test_a_changed_file_is_read_again_in_every_worker(service: Service, keys_file: Path) -> None:
    before, traffic = workers(service), Traffic(service)
    replace_keys(keys_file, key_line("shop", "other-key"))
    wait_until(lambda: everywhere(service, "other-key", 400) and everywhere(service, "shop-key", 403))
    assert traffic.stop() == {200}
    assert workers(service) == before


def test_sighup_replaces_the_workers_and_loses_no_request(service: Service, keys_file: Path) -> None:
    replace_keys(keys_file, key_line("shop", "other-key"))
    traffic = [Traffic(service) for _ in range(4)]
    for _ in range(3):
        hang_up(service)
    assert [each.stop() for each in traffic] == [{200}] * 4
    assert everywhere(service, "other-key", 400)


def test_a_request_that_is_being_read_during_a_reload_is_answered(service: Service) -> None:
    before = workers(service)
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nX-Api-Key: env-key\r\nContent-Length: {len(jpeg())}\r\n"
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        connection.sendall(head.encode())
        assert service.answers()  # on a later connection: this one has been accepted
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(workers(service) - before) == 2 and len(workers(service)) < 4)
        time.sleep(1)  # until the other old worker, which has this connection, gets its signal
        connection.sendall(b"Connection: close\r\n\r\n" + jpeg())
        assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    wait_until(lambda: not workers(service) & before)


def test_a_bad_file_keeps_the_keys_and_refuses_a_reload(service: Service, keys_file: Path) -> None:
    replace_keys(keys_file, key_line("shop", "good-key"))
    wait_until(lambda: everywhere(service, "good-key", 400))
    before = workers(service)
    replace_keys(keys_file, "oops, a-plain-key\n")
    wait_until(lambda: everywhere(service, "good-key", 400) and service.log.read_text().count("keys.kept") == 2)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload.refused" in service.log.read_text())
    assert workers(service) == before
    said = service.log.read_text()
    assert f"API_KEYS_FILE='{keys_file}', line 1: " in said
    assert "a-plain-key" not in said


def test_a_worker_that_starts_with_a_bad_file_accepts_no_unknown_key(service: Service, keys_file: Path) -> None:
    for pid in workers(service):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: service.log.read_text().count("keys.kept") == 4)
    wait_until(lambda: service.answers("/health/ready"))
    assert everywhere(service, "env-key", 400)
    assert everywhere(service, "good-key", 403) and everywhere(service, "", 401)
    replace_keys(keys_file, key_line("shop", "good-key"))
    wait_until(lambda: everywhere(service, "good-key", 400))


def is_answer(line: dict[str, Any], request_id: str) -> bool:
    """Return whether a line is that of an answer; it is written after the answer."""
    return (line["logger"], line["request_id"]) == ("app.requests", request_id)


def test_every_line_is_json_without_private_data(service: Service) -> None:
    service.request(URL, jpeg(), headers={"X-Api-Key": "env-key", "X-Request-ID": "the-last"})
    wait_until(lambda: any(is_answer(line, "the-last") for line in json_lines(service.log)))
    lines = json_lines(service.log)
    loggers = {line["logger"] for line in lines}
    assert {"gunicorn.error", "app.requests", "app.images", "app.engine.keeper"} <= loggers
    done = next(line for line in lines if is_answer(line, "the-last"))
    assert (done["status"], done["path"]) == (200, URL)
    assert done["pixels"] == 512 * 512 and done["model"] == "lite" and done["bytes_in"] == len(jpeg())
    assert {"queue", "decode", "infer", "cutout", "encode"} <= set(done["stages"])
    with_address = {"gunicorn.error", "app.server"}  # the address on which the service listens
    text = json.dumps([line for line in lines if line["logger"] not in with_address])
    assert [word for word in ("env-key", "shop-key", "other-key", "127.0.0.1") if word in text] == []


def test_a_rotated_file_is_reopened(service: Service, keys_file: Path) -> None:
    old = service.log.rename(service.log.with_suffix(".1"))
    ask(service, "env-key")
    wait_until(lambda: service.log.exists() and "image.succeeded" in service.log.read_text())
    size = old.stat().st_size
    ask(service, "env-key")
    assert old.stat().st_size == size
    replace_keys(keys_file, "nonsense\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload.refused" in service.log.read_text())


def recycled(log: Path) -> list[dict[str, Any]]:
    return [line for line in json_lines(log) if "engine.recycled" in line["message"]]


def test_engines_log_in_the_same_form_to_the_same_file(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "engines.log"
    service = start(
        ENGINE_PROCESSES=1, ENGINE_MAX_TASKS=1, LOG_FORMAT="json", LOG_FILE=log, RATE_LIMIT_REMOVE_BG_PER_HOUR=0
    )
    ask(service)
    wait_until(lambda: recycled(log))
    assert [line["logger"] for line in recycled(log)] == ["app.engine"]


def test_json_goes_to_standard_error_without_a_file(start: Start) -> None:
    service = start(ENGINE_PROCESSES=1, LOG_FORMAT="json")
    ask(service)
    service.stop()
    assert {line["logger"] for line in json_lines(service.log)} >= {"gunicorn.error", "app.requests", "app.images"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"API_KEYS_FILE": "{bad}"}, "API_KEYS_FILE='{bad}', line 1: "),
        ({"API_KEYS_FILE": "/nowhere/keys"}, "API_KEYS_FILE='/nowhere/keys': No such file"),
        ({"CORS_ORIGINS": "shop.example"}, "CORS_ORIGINS="),
        ({"LOG_FILE": "/dev/null/log"}, "LOG_FILE='/dev/null/log': Not a directory"),
        ({"API_KEYS": "top-secret", "PORT": "0"}, "PORT='0'"),
    ],
)
def test_a_bad_setting_stops_the_start(settings: dict[str, str], named: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("top-secret\n")
    environment = {name: value.format(bad=bad) for name, value in settings.items()}
    process = gunicorn({"PORT": str(free_port())} | environment, tmp_path / "log")
    try:
        assert process.wait(60) != 0
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    said = (tmp_path / "log").read_text()
    assert named.format(bad=bad) in said
    assert "top-secret" not in said and "Traceback" not in said
