"""With REQUIRE_INTEGRATION=1 (as CI sets it) a skipped integration test counts as failed."""

from __future__ import annotations

from tests.support.require_integration import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]
