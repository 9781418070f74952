"""A Redis for the tests. With REQUIRE_INTEGRATION=1 (as CI sets it) a skipped integration test counts as failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.require_integration import pytest_runtest_makereport
from tests.support.servers import RedisServer
from tests.support.service import free_port

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the module, on loopback."""
    server = RedisServer(free_port(), tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()
