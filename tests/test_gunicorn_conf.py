"""Settings of gunicorn, as gunicorn reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def gunicorn_settings(**settings: str) -> dict[str, str]:
    """Return gunicorn's settings in this environment."""
    done = subprocess.run(
        [Path(sys.executable).with_name("gunicorn"), "--print-config", "app:create_app()"],
        env=os.environ | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(map(str.strip, line.split("=", 1)) for line in done.stdout.splitlines() if "=" in line)  # type: ignore[misc]


@pytest.fixture(scope="module")
def defaults() -> dict[str, str]:
    return gunicorn_settings(ENGINE_PROCESSES="2", MEMORY_PROFILE="standard")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", "1"),
        ("threads", "50"),  # 2 engines, QUEUE_SIZE, and 16 for all other requests
        ("max_requests", "0"),  # engines are replaced one by one, not the worker with all of them
        ("preload_app", "False"),
        ("control_socket_disable", "True"),
        ("worker_tmp_dir", "/dev/shm"),  # noqa: S108
        ("graceful_timeout", "30"),
        ("reuse_port", "False"),
    ],
)
def test_default(name: str, value: str, defaults: dict[str, str]) -> None:
    assert defaults[name] == value


def test_workers_have_an_event_loop(defaults: dict[str, str]) -> None:
    assert "ServiceWorker" in defaults["worker_class"]


def test_settings_reach_gunicorn() -> None:
    printed = gunicorn_settings(SHUTDOWN_GRACE="6.5", WEB_CONCURRENCY="3", WEB_THREADS="5", HOST="::1", PORT="5999")
    assert {name: printed[name] for name in ("graceful_timeout", "workers", "threads")} == {
        "graceful_timeout": "7",
        "workers": "3",
        "threads": "5",
    }
    assert "[::1]:5999" in printed["bind"]


def test_an_ipv6_address_may_have_brackets() -> None:
    assert "'[::1]:5001'" in gunicorn_settings(HOST="[::1]", PORT="5001")["bind"]
