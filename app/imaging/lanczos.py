"""A photo of any shape to the square that a model sees: Pillow's Lanczos, in two thirds of its time.

Resampling is linear: across, then down, each is a product with a matrix that has a band of weights. Taken in blocks, in
which the band is nearly dense, that is what BLAS is fastest at. Weights and their order are Pillow's (its Resample.c: a
window of three lobes that grows with the scale), and so is the rounding to whole grey levels after each step: models
answer differently, if only a little, without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["shrink_to_square"]

Plane = NDArray[np.float32]

LOBES = 3
# Rows or columns of the result in a block, and rows of the photo that are worked on at once.
BLOCK, STRIP = 32, 64
# A photo of more than so many times the square is averaged over whole pixels first, as by Pillow's `reducing_gap`:
# masks stay as they were, and a large photo takes half the time.
GAP = 3


def shrink_to_square(image: Image.Image, side: int) -> Plane:
    """Return an RGB image as `image.resize((side, side), LANCZOS, reducing_gap=3)` has it, float32 (3, side, side).

    Values are whole numbers in 0..255; one in some thousands is off by one.
    """
    width, height = image.size
    factor = max(1, int(width / side / GAP)), max(1, int(height / side / GAP))
    if factor != (1, 1):
        image = image.reduce(factor)  # whose last pixels may stand for a part only
    span = width / factor[0], height / factor[1]
    if _is_tall(image.size, side):
        turned = _across_then_down(image.transpose(Image.Transpose.TRANSPOSE), span[::-1], side)
        return np.ascontiguousarray(turned.transpose(0, 2, 1))
    return _across_then_down(image, span, side)


def _is_tall(size: tuple[int, int], side: int) -> bool:
    """Tell whether Pillow 13 scales down before across: found by trying, and held by a test."""
    width, height = size
    return height > side and height - side > 2 * (width - side)


def _across_then_down(image: Image.Image, span: tuple[float, float], side: int) -> Plane:
    """Scale an image, which stands for `span` (width, height) of its pixels."""
    pixels = np.asarray(image)
    columns, rows = _blocks(pixels.shape[1], span[0], side), _blocks(pixels.shape[0], span[1], side)
    narrow = np.empty((3, pixels.shape[0], side), np.float32)
    for top in range(0, pixels.shape[0], STRIP):
        strip = np.concatenate(cv2.split(pixels[top : top + STRIP])).astype(np.float32)
        for block in columns:
            part = strip[:, block.source] @ block.weights.T
            narrow[:, top : top + STRIP, block.target] = part.reshape(3, -1, part.shape[1])
    _round_to_grey_levels(narrow)
    square = np.empty((3, side, side), np.float32)
    for block in rows:
        np.matmul(block.weights, narrow[:, block.source], out=square[:, block.target])
    return _round_to_grey_levels(square)


@dataclass(frozen=True, slots=True)
class _Block:
    """Some rows or columns of the result, those of the photo that they are made of, and how."""

    target: slice
    source: slice
    weights: Plane


@lru_cache(maxsize=8)  # photos of one sender often have one size; a size takes about 0.2 MB
def _blocks(count: int, length: float, side: int) -> list[_Block]:
    """Return how `count` samples, which span a `length` of at most that many, become `side` samples."""
    scale = length / side
    widening = max(scale, 1.0)
    centres = (np.arange(side) + 0.5) * scale
    first = np.maximum(np.floor(centres - LOBES * widening + 0.5), 0).astype(np.intp)
    last = np.minimum(np.floor(centres + LOBES * widening + 0.5), count).astype(np.intp)
    samples = first[:, None] + np.arange(int((last - first).max()))
    weights = _lanczos((samples - centres[:, None] + 0.5) / widening) * (samples < last[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    blocks = []
    for start in range(0, side, BLOCK):
        target = slice(start, min(start + BLOCK, side))
        source = slice(int(first[start]), int(last[target.stop - 1]))
        dense = np.zeros((target.stop - start, samples.shape[1] + source.stop - source.start), np.float32)
        np.put_along_axis(dense, samples[target] - source.start, weights[target].astype(np.float32), axis=1)
        blocks.append(_Block(target, source, np.ascontiguousarray(dense[:, : source.stop - source.start])))
    return blocks


def _lanczos(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)


def _round_to_grey_levels(values: Plane) -> Plane:
    np.rint(values, out=values)
    return np.clip(values, 0, 255, out=values)
