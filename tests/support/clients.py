"""Clients of other services, installed from their registries, and pictures for them."""

from __future__ import annotations

import shutil
import subprocess
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.photos import jpeg

__all__ = ["KEY", "NPM", "PYPI", "Pictures", "install"]

KEY = "a-key"
PYPI, NPM = "removebg==0.04", "remove.bg@1.3.0"


class Pictures(BaseHTTPRequestHandler):
    """Answer every path with a photo."""

    def do_GET(self) -> None:
        picture = jpeg("astronaut")
        self.send_response(200)
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def install(name: str, command: list[str]) -> None:
    """Install a client; skip with the reason if its registry is not available."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is missing, which installs {name}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        pytest.skip(f"{name} can't be installed from its registry: {' '.join(reason)}")
