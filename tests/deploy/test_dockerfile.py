"""The Dockerfile: linter and content; test_dockerfile_steps.py runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.settings import Settings
from tests.support.deploy_files import run, venv_program
from tests.support.dockerfile import dockerignore, stages
from tests.support.service import free_port

ARGUMENTS, STAGES = stages()
FINAL = STAGES[-1]
SETTINGS = {name.upper() for name in Settings.model_fields}


def test_hadolint_finds_nothing() -> None:
    run(venv_program("hadolint"), "--failure-threshold", "style", "Dockerfile")


def test_the_base_is_pinned_to_a_python_and_a_debian() -> None:
    assert {stage.base for stage in STAGES} == {"${PYTHON_IMAGE}"}
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", ARGUMENTS["PYTHON_IMAGE"])
    assert FINAL.pairs("LABEL")["org.opencontainers.image.base.name"].endswith(ARGUMENTS["PYTHON_IMAGE"])


def test_the_final_image_consists_of_copies_only() -> None:
    assert len(STAGES) == 2
    assert FINAL.all("RUN") == []
    assert all(copy.startswith("--from=build ") for copy in FINAL.all("COPY"))


def test_it_runs_as_an_unprivileged_user() -> None:
    user, _, group = FINAL.last("USER").partition(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000


def test_it_starts_and_stops_like_the_service_itself() -> None:
    assert FINAL.command("CMD") == ["python", "-m", "app", "serve"]
    assert FINAL.last("STOPSIGNAL") == "SIGTERM"
    assert FINAL.last("EXPOSE") == str(Settings().port)


def test_arguments_include_models_and_packages() -> None:
    (build, _) = STAGES
    assert build.pairs("ARG") == {"MODELS": "", "ONNXRUNTIME": "", "JOBS": ""}
    assert any('app models pull "${model}"' in command for command in build.all("RUN"))
    assert build.pairs("ENV")["REMBG_HOME"] == FINAL.pairs("ENV")["REMBG_HOME"] == "/models"


def test_settings_exist() -> None:
    foreign = {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert set(FINAL.pairs("ENV")) - foreign <= SETTINGS


def test_the_build_context_has_only_copied_files() -> None:
    let_in = {pattern[1:] for pattern in dockerignore() if pattern.startswith("!")}
    (build, _) = STAGES
    copied = {source for line in build.all("COPY") for source in line.split()[:-1]}
    assert dockerignore()[0] == "*"
    assert let_in == copied


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Serve one status at every path, and yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def healthcheck(port: int) -> subprocess.CompletedProcess[str]:
    """Run the image's HEALTHCHECK against a local port, with a proxy that does not exist."""
    command = [sys.executable, *FINAL.command("HEALTHCHECK")[1:]]
    environment = {"PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (500, 1)])
def test_the_healthcheck_follows_readiness(status: int, code: int) -> None:
    with answering(status) as port:
        done = healthcheck(port)
    assert done.returncode == code
    assert bool(done.stderr) == (status != 200)
    assert "Traceback" not in done.stderr


def test_the_healthcheck_fails_without_an_answer() -> None:
    done = healthcheck(free_port())
    assert done.returncode == 1
    assert done.stderr.startswith("no answer")
