"""With REQUIRE_INTEGRATION=1 a check that is skipped because its tool is missing counts as failed here, too."""

from tests.support.require_integration import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]
