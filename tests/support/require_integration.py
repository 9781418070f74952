"""Hook by which a skipped test counts as failed with REQUIRE_INTEGRATION=1, as CI sets it.

Each conftest.py of tests that must not be skipped imports it. The mark `may_skip` is for a test that needs a machine of
its own.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

__all__ = ["pytest_runtest_makereport"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    required = item.get_closest_marker("may_skip") is None
    if report.skipped and required and os.environ.get("REQUIRE_INTEGRATION") == "1":
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_INTEGRATION is set, and {item.nodeid} was skipped: {report.longrepr}"
    return report
