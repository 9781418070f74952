"""Tests that need torch, which `make test` installs in .venv-training with REQUIRE_INTEGRATION=1."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

__all__ = ["HAS_TORCH", "needs_torch"]

HAS_TORCH = find_spec("torch") is not None
needs_torch = pytest.mark.skipif(
    not HAS_TORCH, reason="torch is not installed: REQUIRE_INTEGRATION=1 make test runs this in .venv-training"
)
