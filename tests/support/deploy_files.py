"""Files for operators, and programs that check them."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
import yaml

from tests.support.configuration import ROOT
from tests.support.servers import binary
from tests.support.service import free_port
from tests.support.waiting import wait_until

__all__ = [
    "check_hardened",
    "documents",
    "in_mb",
    "in_seconds",
    "redis_configuration",
    "run",
    "venv_program",
    "yaml_of",
]

MEGABYTES = {"m": 1, "Mi": 1, "g": 1024, "Gi": 1024}


def documents(text: str) -> list[Any]:
    """Return all documents of a YAML text."""
    return list(yaml.safe_load_all(text))


def yaml_of(path: str) -> Any:
    """Return the only document of a YAML file of the project."""
    (document,) = documents((ROOT / path).read_text(encoding="utf-8"))
    return document


def check_hardened(pod: Any) -> None:
    """Fail unless a Kubernetes pod of one container runs without privileges, and within limits."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def in_mb(text: str) -> int:
    """Return a size of Docker or Kubernetes in MB."""
    match = re.fullmatch(r"(\d+)([a-zA-Z]+)", text)
    assert match is not None, text
    return int(match[1]) * MEGABYTES[match[2]]


def in_seconds(text: str) -> int:
    """Return a duration such as 45s in seconds."""
    assert re.fullmatch(r"\d+s", text), text
    return int(text[:-1])


def venv_program(name: str) -> str:
    """Return the path of a program from requirements-dev.txt."""
    return str(Path(sys.executable).with_name(name))


def run(*command: str, cwd: Path = ROOT, stdin: str = "") -> str:
    """Run a check and return its output; fail with it on errors."""
    done = subprocess.run(
        command, cwd=cwd, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def redis_configuration(program: str, *options: str) -> dict[str, str]:
    """Start a Redis on loopback with these options, and return its configuration."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [binary(program), *_in(folder, options), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder],
            stdout=subprocess.DEVNULL,
        ) as process,
        redis.Redis(port=port, decode_responses=True) as client,
    ):
        try:
            wait_until(lambda: process.poll() is not None or _answers(client))
            assert process.poll() is None, f"{process.args!r} ended"
            return dict(client.config_get("*"))
        finally:
            process.kill()


def _in(folder: str, options: Sequence[str]) -> list[str]:
    """Return options of Redis with another folder than that of its container."""
    return [folder if before == "--dir" else option for before, option in zip(("", *options), options, strict=False)]


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
