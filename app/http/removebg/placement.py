"""Kinds of values for size and placement in remove.bg's dialect."""

from __future__ import annotations

import re

from app.options.values import Kind, choice
from app.removal import Length, Lengths

__all__ = ["SIZES", "position", "region", "scale", "size"]

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
_DECIMAL = r"[0-9]{1,6}(?:\.[0-9]{1,4})?"
_EDGE = re.compile(rf"({_DECIMAL})(px|%)", re.ASCII)
_PERCENT = re.compile(rf"({_DECIMAL})%", re.ASCII)
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


def _scale(text: str) -> float | None:
    """Parse 10% to 100% to 0.1..1, `original` to None."""
    word = text.strip().lower()
    if word == "original":
        return None
    match = _PERCENT.fullmatch(word)
    if not match or not 10 <= float(match[1]) <= 100:
        raise ValueError("must be 10% to 100%, or original")
    return float(match[1]) / 100


def _position(text: str) -> tuple[float, float] | None:
    """Parse one or two percentages (across, down) to 0..1 each, `center` to the middle, `original` to None."""
    word = text.strip().lower()
    if word == "original":
        return None
    if word == "center":
        return 0.5, 0.5
    matches = [_PERCENT.fullmatch(part) for part in word.replace(",", " ").split()]
    shares = [float(match[1]) / 100 for match in matches if match]
    if len(matches) not in {1, 2} or len(shares) != len(matches) or max(shares) > 1:
        raise ValueError("must be original, center, or one or two percentages from 0% to 100%, like 50% 100%")
    return shares[0], shares[-1]


size = Kind(_size, _size_name.schema)
region = Kind(
    _region,
    {"type": "string", "pattern": f"^{_EDGE.pattern}(?: {_EDGE.pattern}){{3}}$", "examples": ["10% 10% 90% 90%"]},
)
scale = Kind(_scale, {"type": "string", "pattern": f"^(?:original|{_PERCENT.pattern})$", "examples": ["80%"]})
position = Kind(
    _position,
    {
        "type": "string",
        "pattern": f"^(?:original|center|{_PERCENT.pattern}(?: {_PERCENT.pattern})?)$",
        "examples": ["center", "50% 100%"],
    },
)
