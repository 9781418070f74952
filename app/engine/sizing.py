"""Largest working size of a photo, computed before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.imaging.decode import Header
from app.imaging.geometry import fit_within

__all__ = ["drafted", "largest_side"]

# Maximum side of an answer and of MAX_DIMENSION, px: WEBP is limited to 16,383, OpenCV's planes to 32,767.
MAX_SIDE = 16_000


def largest_side(header: Header, min_side: int, fits: Callable[[Header, int], bool]) -> int:
    """Return the largest side up to the photo's own, in px, for which `fits` is true; `min_side` if there is none."""
    low, high = min(min_side, max(header.full_size)), min(max(header.full_size), MAX_SIDE)
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
    """Return the header as decoded for this side: Pillow reads a JPEG at 1/2, 1/4 or 1/8 of its scale."""
    if header.format != "JPEG":
        return header
    wanted = fit_within(header.full_size, side, side)
    ratio = min(full // small for full, small in zip(header.full_size, wanted, strict=True))
    factor = next(step for step in (8, 4, 2, 1) if ratio >= step)
    width, height = header.full_size
    return replace(header, size=(-(-width // factor), -(-height // factor)))
