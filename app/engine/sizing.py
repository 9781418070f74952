"""The largest size at which a photo can be worked on, known before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.imaging.decode import Header
from app.imaging.geometry import fit_within

__all__ = ["drafted", "largest_side"]

# No answer is longer, as MAX_DIMENSION never is: WEBP ends at 16,383 px, and OpenCV's planes at 32,767.
MOST_SIDE = 16_000


def largest_side(header: Header, least: int, fits: Callable[[Header, int], bool]) -> int:
    """Return the largest side up to the photo's own, px, with which it `fits`; `least` when no larger one does."""
    low, high = min(least, max(header.full_size)), min(max(header.full_size), MOST_SIDE)
    if fits(drafted(header, high), high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if fits(drafted(header, middle), middle):
            low = middle
        else:
            high = middle
    return low


def drafted(header: Header, side: int) -> Header:
    """Return what is decoded of a photo for this side: Pillow reads a JPEG at a half, a quarter or an eighth."""
    if header.format != "JPEG":
        return header
    wanted = fit_within(header.full_size, side, side)
    most = min(full // small for full, small in zip(header.full_size, wanted, strict=True))
    factor = next(step for step in (8, 4, 2, 1) if most >= step)
    width, height = header.full_size
    return replace(header, size=(-(-width // factor), -(-height // factor)))
