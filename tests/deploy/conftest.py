"""With REQUIRE_INTEGRATION=1 a skipped check counts as failed, as in tests/integration."""

from tests.support.require_integration import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]
