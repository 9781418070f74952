"""Configuration of the tests: folder of the project, settings without limits, an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.engine.messages import EngineConfig
from app.settings import Settings

__all__ = ["ENGINE", "NO_LIMITS", "ROOT"]

ROOT = Path(__file__).parent.parent.parent
# Limits are off in all tests but their own, and in benchmarks. Those tests limit clients on loopback.
NO_LIMITS: dict[str, Any] = dict.fromkeys((name for name in Settings.model_fields if "rate_limit_" in name), 0)
del NO_LIMITS["rate_limit_storage"]
NO_LIMITS["rate_limit_exempt"] = "none"
ENGINE = EngineConfig(model="lite", threads=2, max_pixels=25_000_000, max_pixels_hard=100_000_000)
