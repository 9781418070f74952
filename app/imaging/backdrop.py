"""Backdrops made for an answer: a gradient of two colours, and the photo's own background blurred."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from app.imaging.geometry import Size, fit_within
from app.removal import Gradient

__all__ = ["blurred", "gradient"]

Pixels = npt.NDArray[np.float32]

# Rows computed in floats at once.
STRIP = 64
# Maximum side of a blurred photo before it is enlarged, px, and the standard deviation of its blur where that allows
# it: enough for a smooth result, at a cost independent of strength and size.
BLUR_SIDE, BLUR_SIGMA, MIN_BLUR_SIDE = 640, 4, 64
# Weight of the subject's own pixels, for photos without any background, and the alpha from which pixels are its own:
# colours of half-covered pixels are mixed.
SUBJECT_WEIGHT, SUBJECT_ALPHA = 1e-6, 64


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

    `alpha` is the subject's, of the photo's size. Its place is filled with the background around it, because a subject
    that is scaled or moved no longer covers it.
    """
    side = min(max(BLUR_SIGMA * 1000 // strength, MIN_BLUR_SIDE), BLUR_SIDE)
    size = fit_within(photo.size, side, side)
    small, mask = (
        np.asarray(cv2.resize(np.asarray(plane), size, interpolation=cv2.INTER_AREA), np.float32)
        for plane in (photo, alpha)
    )
    background = _filled(small, np.maximum(1 - mask / SUBJECT_ALPHA, np.float32(SUBJECT_WEIGHT)))
    result = cv2.GaussianBlur(background, (0, 0), strength / 1000 * max(size))
    return Image.fromarray(np.rint(np.asarray(result)).astype(np.uint8), "RGB")


def _filled(colours: Pixels, weight: Pixels) -> Pixels:
    """Return H×W×3 colours with those of a smaller scale where the weight, H×W and 0 to 1, is small (pull-push)."""
    height, width = weight.shape
    if max(width, height) == 1:
        return colours
    half = (width + 1) // 2, (height + 1) // 2
    sums, weights = (
        np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32)
        for plane in (colours * weight[..., None], weight)
    )
    coarse = _filled(sums.reshape(half[1], half[0], 3) / weights[..., None], weights)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return smooth + weight[..., None] * (colours - smooth)
