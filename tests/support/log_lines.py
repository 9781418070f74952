"""Log lines in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["json_lines"]


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file that may be written meanwhile."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
