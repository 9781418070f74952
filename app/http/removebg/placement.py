"""Kinds of values for size and region in remove.bg's dialect."""

from __future__ import annotations

import re

from app.options.values import DECIMAL, Kind, choice
from app.removal import Length, Lengths

__all__ = ["SIZES", "region", "size"]

SIZES = {
    "preview": 250_000,
    "small": 250_000,
    "regular": 250_000,
    "medium": 1_500_000,
    "hd": 4_000_000,
    "full": 25_000_000,
    "4k": 25_000_000,
    "50MP": 25_000_000,
    "auto": 25_000_000,
}
_EDGE = re.compile(rf"({DECIMAL})(px|%)", re.ASCII)
_size_name = choice(*SIZES)


def _size(text: str) -> int:
    """Return the maximum pixels of a size."""
    return SIZES[_size_name(text)]


def _region(text: str) -> Lengths:
    """Parse two corners "x1 y1 x2 y2" to (left, top, right, bottom)."""
    matches = [_EDGE.fullmatch(word) for word in text.replace(",", " ").lower().split()]
    edges = tuple(Length(float(match[1]), match[2]) for match in matches if match)  # type: ignore[arg-type]
    if len(matches) != 4 or len(edges) != 4:
        raise ValueError("must be two corners 'x1 y1 x2 y2' in px or %, like 10px 20px 400px 300px")
    return edges


size = Kind(_size, _size_name.schema)
region = Kind(
    _region,
    {"type": "string", "pattern": f"^{_EDGE.pattern}(?: {_EDGE.pattern}){{3}}$", "examples": ["10% 10% 90% 90%"]},
)
