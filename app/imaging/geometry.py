"""Sizes and boxes in whole pixels. Sizes are never scaled up."""

from __future__ import annotations

from math import isqrt

from app.removal import Box, Length, Lengths

__all__ = [
    "Size",
    "cover_box",
    "fit_pixels",
    "fit_within",
    "grow_box",
    "intersect",
    "pixels_of",
    "scale_box",
    "widen_box",
]

Size = tuple[int, int]


def fit_within(size: Size, max_width: int | None, max_height: int | None) -> Size:
    """Return `size` (width, height) scaled down to fit both bounds, aspect ratio kept, each side at least 1."""
    width, height = size
    scale = min(1.0, (max_width or width) / width, (max_height or height) / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def fit_pixels(size: Size, max_pixels: int) -> Size:
    """Return `size` (width, height) scaled down to at most `max_pixels` in all, aspect ratio kept."""
    width, height = size
    if width * height <= max_pixels:
        return size
    # In integers: 5000 x 3200 at 250,000 px is 625 x 400, but floats may give 624 x 399.
    fitted_width = max(1, isqrt(max_pixels * width // height))
    fitted_height = max(1, isqrt(max_pixels * height // width))
    width = max(1, min(fitted_width, max_pixels // fitted_height))
    return width, max(1, min(fitted_height, max_pixels // fitted_width))


def cover_box(size: Size, target: Size) -> tuple[float, float, float, float]:
    """Return the centred part (left, top, right, bottom) of `size` that fills `target` when scaled to it."""
    width, height = size
    scale = min(width / target[0], height / target[1])
    # In floats 187 * (3 / 187) is more than 3, and Pillow refuses a box that extends outside the image.
    part_width, part_height = min(width, target[0] * scale), min(height, target[1] * scale)
    left, top = (width - part_width) / 2, (height - part_height) / 2
    return left, top, left + part_width, top + part_height


def pixels_of(length: Length, whole: int) -> int:
    """Return a length in px; percentages are of `whole`."""
    return round(length.value if length.unit == "px" else length.value / 100 * whole)


def grow_box(box: Box, margins: Lengths, size: Size) -> Box:
    """Return `box` grown by `margins` (top, right, bottom, left; percent of the box), clipped to the image."""
    return intersect(widen_box(box, margins), Box(0, 0, size[0], size[1]))


def widen_box(box: Box, margins: Lengths) -> Box:
    """Return `box` grown by `margins` as `grow_box` does, also beyond the image."""
    top, right, bottom, left = (
        pixels_of(margin, box.height if vertical else box.width)
        for margin, vertical in zip(margins, (True, False, True, False), strict=True)
    )
    return Box(box.top - top, box.left - left, box.width + left + right, box.height + top + bottom)


def intersect(box: Box, other: Box) -> Box:
    """Return the intersection of two boxes; an empty box if they do not overlap."""
    top, left = max(box.top, other.top), max(box.left, other.left)
    bottom = min(box.top + box.height, other.top + other.height)
    right = min(box.left + box.width, other.left + other.width)
    return Box(top, left, right - left, bottom - top) if right > left and bottom > top else Box()


def scale_box(box: Box, old: Size, new: Size) -> Box:
    """Return the smallest box of an image of size `new` that covers `box` of the same image at size `old`."""
    if not box.width or not box.height:
        return Box()
    left, right = box.left * new[0] // old[0], -(-(box.left + box.width) * new[0] // old[0])
    top, bottom = box.top * new[1] // old[1], -(-(box.top + box.height) * new[1] // old[1])
    return Box(top, left, right - left, bottom - top)
