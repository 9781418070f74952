"""Tests of training: one thread of torch; a skipped test fails with REQUIRE_INTEGRATION=1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.require_integration import pytest_runtest_makereport
from tests.support.torch_tests import HAS_TORCH

__all__ = ["pytest_runtest_makereport"]

if HAS_TORCH:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder for sets."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
