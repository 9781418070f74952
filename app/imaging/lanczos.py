"""Resampling of a photo to a model's square input: Pillow's Lanczos, in two thirds of its time.

Resampling is linear: horizontally, then vertically, each a product with a band matrix of weights. In blocks, where the
band is nearly dense, BLAS is fastest. Weights and order are Pillow's (Resample.c: a window of three lobes that grows
with the scale), and so is the rounding to integer grey levels after each step, without which the output of models
differs slightly.
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
# Rows or columns of the result in a block, and rows of the photo processed at once.
BLOCK, STRIP = 32, 64
# A photo of more than GAP times the square is first averaged over whole pixels, as with Pillow's `reducing_gap`: masks
# of lite stay the same, and a large photo takes half the time.
GAP = 3


def shrink_to_square(image: Image.Image, side: int, gap: int = GAP) -> Plane:
    """Return the result of `image.resize((side, side), LANCZOS, reducing_gap=gap)` for RGB as float32 (3, side, side).

    Values are integers in 0..255; one in several thousand is off by one.
    """
    width, height = image.size
    factor = max(1, int(width / side / gap)), max(1, int(height / side / gap))
    if factor != (1, 1):
        image = image.reduce(factor)  # its last pixels may represent a part of a block
    span = width / factor[0], height / factor[1]
    if _scales_vertically_first(image.size, side):
        transposed = _horizontally_then_vertically(image.transpose(Image.Transpose.TRANSPOSE), span[::-1], side)
        return np.ascontiguousarray(transposed.transpose(0, 2, 1))
    return _horizontally_then_vertically(image, span, side)


def _scales_vertically_first(size: tuple[int, int], side: int) -> bool:
    """Return whether Pillow 13 scales vertically first: found by experiment, ensured by a test."""
    width, height = size
    return height > side and height - side > 2 * (width - side)


def _horizontally_then_vertically(image: Image.Image, span: tuple[float, float], side: int) -> Plane:
    """Scale the part of `span` (width, height) px of an image to the square."""
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
    """Rows or columns of the result, their source rows or columns in the photo, and the weights."""

    target: slice
    source: slice
    weights: Plane


@lru_cache(maxsize=8)  # photos of a client often have the same size; each size takes about 0.2 MB
def _blocks(count: int, length: float, side: int) -> list[_Block]:
    """Return the blocks that scale `count` samples, of which `length` are used, to `side` samples."""
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
