"""Layout of an answer on a canvas: its size and the box of the subject, in whole pixels.

Lengths refer to the photo's full size, independent of the working size, so that the same photo and options give the
same answer on every server.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from app.errors import RoiEmpty, RoiExceedsBounds
from app.imaging.geometry import Size, fit_pixels, fit_within, intersect, pixels_of, scale_box, widen_box
from app.removal import NO_MARGIN, Box, Canvas, Lengths, RemovalOptions

__all__ = ["MAX_PIXELS", "MAX_PNG_PIXELS", "Layout", "lay_out", "max_answer_pixels", "region_of"]

# Maximum pixels of any answer, and of a PNG.
MAX_PIXELS, MAX_PNG_PIXELS = 25_000_000, 10_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Size of the answer, and the boxes in it.

    `source` is the part of the photo, in px of its full size, that fills `target`; `target` and `subject` are in px of
    the answer.
    """

    size: Size
    source: Box
    target: Box
    subject: Box


def region_of(roi: Lengths | None, frame: Size) -> Box:
    """Return the part of a photo that may contain the subject; raise RoiExceedsBounds or RoiEmpty.

    `roi` is left, top, right and bottom, percentages of the photo's `frame` (width, height).
    """
    if roi is None:
        return Box(0, 0, *frame)
    left, top, right, bottom = (pixels_of(edge, frame[number % 2]) for number, edge in enumerate(roi))
    if max(left, right) > frame[0] or max(top, bottom) > frame[1]:
        raise RoiExceedsBounds(details=f"the image has {frame[0]} x {frame[1]} pixels")
    if right <= left or bottom <= top:
        raise RoiEmpty(details=f"the region is {right - left} x {bottom - top} pixels")
    return Box(top, left, right - left, bottom - top)


def lay_out(
    frame: Size, region: Box, subject: Box, options: RemovalOptions, *, max_pixels: int, max_scale: float = 1.0
) -> Layout:
    """Return the layout for a photo of size `frame`, with the examined `region` and the `subject` found in it.

    Without a subject its box is empty, and nothing is cropped or moved. An answer without a fixed size has at most
    `max_pixels`, and at most `max_scale` times the photo's size, which is the maximum scale for processing.
    """
    canvas = options.canvas or Canvas(max_pixels)
    whole = Box(0, 0, *frame)
    if options.crop and subject.width:
        whole = widen_box(subject, options.crop_margin)
    size = fit_within(canvas.size or _size(whole, max_pixels, max_scale), options.max_width, options.max_height)
    frame_box = _fitted(whole, size, canvas) if canvas.size else Box(0, 0, *size)
    placed = _inside(whole, subject, frame_box)
    if subject.width and (canvas.scale or (canvas.position and not canvas.size)):
        target = _placed(placed, subject, size, canvas)
        return Layout(size, subject, target, target)
    source = intersect(whole, region)
    return Layout(size, source, _inside(whole, source, frame_box), placed)


def max_answer_pixels(frame: Size, options: RemovalOptions, max_scale: float) -> int:
    """Return the maximum pixels of the answer for any box of the subject; 0 without a canvas."""
    if options.canvas is None:
        return 0
    if options.canvas.size:
        width, height = options.canvas.size
        return width * height
    margins = options.crop_margin if options.crop else NO_MARGIN
    whole = widen_box(Box(0, 0, *frame), margins)
    return min(options.canvas.max_pixels, round(whole.width * whole.height * max_scale**2))


def _size(whole: Box, max_pixels: int, max_scale: float) -> Size:
    width, height = fit_pixels((whole.width, whole.height), max_pixels)
    if width <= whole.width * max_scale:
        return width, height
    return max(1, floor(whole.width * max_scale)), max(1, floor(whole.height * max_scale))


def _fitted(whole: Box, size: Size, canvas: Canvas) -> Box:
    """Return the box of `whole`, scaled up or down to fit into the canvas; centred by default."""
    factor = min(size[0] / whole.width, size[1] / whole.height)
    width, height = max(1, round(whole.width * factor)), max(1, round(whole.height * factor))
    across, down = canvas.position or (0.5, 0.5)
    return Box(round(down * (size[1] - height)), round(across * (size[0] - width)), width, height)


def _inside(whole: Box, box: Box, frame_box: Box) -> Box:
    """Return a box in px of the answer, in which `whole` is `frame_box`; empty for an empty box."""
    relative = Box(box.top - whole.top, box.left - whole.left, box.width, box.height)
    found = scale_box(relative, (whole.width, whole.height), (frame_box.width, frame_box.height))
    if not found.width:
        return found
    return Box(found.top + frame_box.top, found.left + frame_box.left, found.width, found.height)


def _placed(before: Box, subject: Box, size: Size, canvas: Canvas) -> Box:
    """Return the subject's box after scaling and moving; by default it stays centred on the box `before`."""
    width, height = before.width, before.height
    if canvas.scale:
        factor = min(canvas.scale * size[0] / subject.width, canvas.scale * size[1] / subject.height)
        width, height = max(1, round(subject.width * factor)), max(1, round(subject.height * factor))
    if canvas.position is not None:
        across, down = canvas.position
        return Box(round(down * (size[1] - height)), round(across * (size[0] - width)), width, height)
    left = before.left + (before.width - width) // 2
    top = before.top + (before.height - height) // 2
    return Box(min(max(0, top), size[1] - height), min(max(0, left), size[0] - width), width, height)
