"""Backdrops made for an answer: a gradient of two colours, and the photo's own background blurred."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image

from app.imaging.geometry import Size, fit_within
from app.removal import Gradient

__all__ = ["blurred", "gradient"]

# Rows computed in floats at once.
STRIP = 64
# Maximum side of a blurred photo before it is enlarged, px, and the standard deviation of its blur where that allows
# it: enough for a smooth result, at a cost independent of strength and size.
BLUR_SIDE, BLUR_SIGMA, MIN_BLUR_SIDE = 640, 4, 64
# Weight of the subject's own pixels, for places without background nearby.
SUBJECT_WEIGHT = 0.001


def gradient(size: Size, colours: Gradient) -> Image.Image:
    """Return a linear gradient as in CSS, RGB, or RGBA if one of its colours is not opaque."""
    width, height = size
    angle = math.radians(colours.angle)
    x, y = math.sin(angle), -math.cos(angle)
    length = abs(width * x) + abs(height * y)
    across = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) * np.float32(x / length)
    down = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) * np.float32(y / length)
    channels = 3 if colours.start[3] == colours.end[3] == 255 else 4
    start, end = (np.array(colour[:channels], np.float32) for colour in (colours.start, colours.end))
    pixels = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, STRIP):
        share = np.clip(down[top : top + STRIP, None] + across + np.float32(0.5), 0, 1)
        pixels[top : top + STRIP] = np.rint(start + share[..., None] * (end - start))
    return Image.fromarray(pixels, "RGB" if channels == 3 else "RGBA")


def blurred(photo: Image.Image, alpha: Image.Image, strength: int) -> Image.Image:
    """Return a small RGB image of the photo's background, blurred by `strength` thousandths of its longer side.

    `alpha` is the subject's, of the photo's size: its colours are left out, so that they do not shine around it.
    """
    side = min(max(BLUR_SIGMA * 1000 // strength, MIN_BLUR_SIDE), BLUR_SIDE)
    size = fit_within(photo.size, side, side)
    small, mask = (
        np.asarray(cv2.resize(np.asarray(plane), size, interpolation=cv2.INTER_AREA), np.float32)
        for plane in (photo, alpha)
    )
    sigma = strength / 1000 * max(size)
    weight = (1 - mask / 255 + SUBJECT_WEIGHT)[..., None]
    sums, weights = (cv2.GaussianBlur(plane, (0, 0), sigma) for plane in (small * weight, weight))
    return Image.fromarray(np.rint(np.asarray(sums) / np.asarray(weights)[..., None]).astype(np.uint8), "RGB")
