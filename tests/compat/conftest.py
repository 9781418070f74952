"""Unmodified clients of other services, pictures on loopback, and the service for them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.clients import KEY, NPM, PYPI, Pictures, install
from tests.support.photos import jpeg
from tests.support.require_integration import pytest_runtest_makereport
from tests.support.service import Service

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def picture_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/photo.jpg"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def service(start: Callable[..., Service], picture_url: str) -> Service:
    """A service with a key, which fetches only from the host of the pictures."""
    return start(
        application="tests.support.lenient_app:create_lenient_app()",
        ENGINE_PROCESSES=1,
        API_KEYS=KEY,
        ALLOW_URL_FETCH="true",
        ALLOWED_URL_HOSTS=picture_url.split("/")[2],
    )


@pytest.fixture(scope="session")
def pypi_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of PyPI's removebg, unmodified."""
    folder = tmp_path_factory.mktemp("pypi")
    install(PYPI, [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(folder), PYPI])
    return folder


@pytest.fixture(scope="session")
def npm_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of npm's remove.bg, unmodified."""
    folder = tmp_path_factory.mktemp("npm")
    install(NPM, ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), NPM])
    return folder / "node_modules"


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg("astronaut"))
    return path


@pytest.fixture
def environment() -> dict[str, str]:
    """Return the environment without proxies, which clients would use even for loopback."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
