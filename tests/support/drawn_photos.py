"""Drawn photos with masks, for trainings that take seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["SIZE", "draw_photo", "write_set"]

SIZE = (96, 80)


def draw_photo(seed: int) -> tuple[Image.Image, Image.Image]:
    """Return an ellipse on noise of another colour, and its mask."""
    random = np.random.default_rng(seed)
    ground = Image.fromarray(random.integers(0, 90, (SIZE[1], SIZE[0], 3), np.uint8))
    mask = Image.new("L", SIZE)
    left, top = (int(value) for value in random.integers(4, 30, 2))
    width, height = (int(value) for value in random.integers(30, 48, 2))
    ImageDraw.Draw(mask).ellipse((left, top, left + width, top + height), fill=255)
    colour = tuple(int(value) for value in random.integers(150, 256, 3))
    return Image.composite(Image.new("RGB", SIZE, colour), ground, mask), mask


def write_set(folder: Path, count: int, *, masks: bool = True) -> Path:
    """Write a set of drawn photos, 001.jpg and so on, with their masks if wanted."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        photo, mask = draw_photo(number)
        photo.save(folder / f"{number:03}.jpg")
        if masks:
            mask.save(folder / f"{number:03}.png")
    return folder
