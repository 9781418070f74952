"""Input and mask of a model as rembg computes them, bit for bit: the same operations, types and order.

Pillow's Lanczos over all pixels and double precision take longer than `lanczos` and `matte`, which change grey levels
of a mask by one to three. rembg serves with Pillow 12, as its user interface requires: it scales horizontally first,
Pillow 13 for some sizes vertically, with other roundings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["full_range", "normalized", "resized", "resized_mask"]

Plane = NDArray[np.float32]
Triple = tuple[float, float, float]


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the result of `image.resize(size, LANCZOS)` of Pillow 12."""
    narrow = image.resize((size[0], image.height), Image.Resampling.LANCZOS)
    return narrow.resize(size, Image.Resampling.LANCZOS)


def normalized(image: Image.Image, side: int, mean: Triple, std: Triple) -> Plane:
    """Return the input (1, 3, side, side) for an RGB image of any size."""
    square = np.asarray(resized(image, (side, side)))
    values = square / max(int(square.max()), 1e-6)
    return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1)[None], np.float32)


def full_range(raw: Plane) -> Plane:
    """Scale a model's output to 0..1, also without a subject; all 0 if it is constant."""
    low, high = raw.min(), raw.max()
    return (raw - low) / (high - low) if high > low else np.zeros_like(raw)


def resized_mask(mask: Plane, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a mask in 0..1 as 8-bit alpha of `size` (width, height)."""
    return np.asarray(resized(Image.fromarray((mask * 255).astype(np.uint8)), size))
