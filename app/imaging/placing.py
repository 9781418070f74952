"""Scaling of a cut-out, and its placement by a layout in one step of scaling."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from app.imaging.canvas import Layout
from app.imaging.geometry import Size
from app.removal import Box

__all__ = ["is_opaque", "place", "scaled"]


def place(cutout: Image.Image, region: Box, layout: Layout) -> Image.Image:
    """Return the answer's canvas, RGBA, transparent around the cut-out.

    `cutout` is RGBA and shows the photo's `region` (px of the photo's full size) at any scale.
    """
    target = layout.target
    part = _part(cutout, region, layout.source, (target.width, target.height))
    if part.size == layout.size:
        return part
    canvas = Image.new("RGBA", layout.size)
    canvas.paste(part, (target.left, target.top))
    return canvas


def scaled(cutout: Image.Image, size: Size, part: tuple[float, float, float, float] | None = None) -> Image.Image:
    """Return a part (left, top, right, bottom) of an RGBA image, by default all of it, scaled to `size`.

    Lanczos overshoots at edges, so colours under alpha 0 are cleared again.
    """
    pixels = np.asarray(cutout.resize(size, Image.Resampling.LANCZOS, box=part, reducing_gap=2.0))
    cleared = cv2.bitwise_and(pixels, pixels, mask=cv2.extractChannel(pixels, 3))
    return Image.fromarray(np.asarray(cleared, np.uint8), "RGBA")


def is_opaque(image: Image.Image) -> bool:
    """Return whether an image has no transparent pixels."""
    return image.mode != "RGBA" or image.getchannel("A").getextrema()[0] == 255


def _part(cutout: Image.Image, region: Box, source: Box, size: tuple[int, int]) -> Image.Image:
    """Return `source`, a part of the region, scaled to `size`."""
    across, down = cutout.width / region.width, cutout.height / region.height
    left, top = (source.left - region.left) * across, (source.top - region.top) * down
    # In floats the sum may be slightly outside the image, which Pillow refuses.
    right, bottom = min(left + source.width * across, cutout.width), min(top + source.height * down, cutout.height)
    if (right - left, bottom - top) == size and left == int(left) and top == int(top):
        return cutout.crop((int(left), int(top), int(right), int(bottom)))
    return scaled(cutout, size, (left, top, right, bottom))
