"""Confidence and box of the subject, from the model's raw output before scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.imaging.geometry import Size, intersect, scale_box
from app.removal import Box

__all__ = ["SUBJECT", "VISIBLE", "confidence_of", "portrait_box", "raw_box", "stretch", "visible_box"]

# Least probability of a cell of the subject.
SUBJECT = 0.5
# Fewer cells than this share of the grid are not a subject, at any probability.
MIN_SHARE = 0.001
# Alpha below this (of 255) is invisible.
VISIBLE = 13
# Height divided by width from which a subject is a standing person.
STANDING = 1.8


def confidence_of(probabilities: NDArray[np.float32]) -> float:
    """Return 0..1: the mean probability of the subject's cells, of at least a thousandth of the grid.

    Under MIN_CONFIDENCE (app.removal) means that there is no subject.
    """
    flat = probabilities.ravel()
    subject = flat[flat >= SUBJECT]
    least = max(round(flat.size * MIN_SHARE), 1)
    if subject.size >= least:
        return float(subject.mean())
    return float(np.partition(flat, flat.size - least)[-least:].mean())


def raw_box(probabilities: NDArray[np.float32]) -> Box:
    """Return the box of the subject's cells, on the model's grid; empty if there are none."""
    return _box_of(probabilities >= SUBJECT)


def visible_box(alpha: NDArray[np.uint8], raw: Box, grid: Size) -> Box:
    """Return the box of the subject's visible part, in px of `alpha` (uint8).

    `raw` is the subject's box on the model's `grid` (width, height); only it and two cells around it are searched, so
    that a faint speck elsewhere does not count.
    """
    size = (alpha.shape[1], alpha.shape[0])
    wide = Box(raw.top - 2, raw.left - 2, raw.width + 4, raw.height + 4) if raw.width else Box()
    near = scale_box(intersect(wide, Box(0, 0, grid[0], grid[1])), grid, size)
    part = _box_of(alpha[near.top : near.top + near.height, near.left : near.left + near.width] >= VISIBLE)
    return Box(near.top + part.top, near.left + part.left, part.width, part.height) if part.width else Box()


def portrait_box(visible: NDArray[np.bool_], subject: Box, aspect: float = 1.0) -> Box:
    """Return the box of head and shoulders: of a standing person's box the part at the top that is as high as wide.

    `aspect` is the width of a cell divided by its height. Boxes of other subjects are returned unchanged.
    """
    rows = round(subject.width * aspect)
    if subject.height <= STANDING * rows:
        return subject
    part = _box_of(visible[subject.top : subject.top + rows, subject.left : subject.left + subject.width])
    return Box(subject.top + part.top, subject.left + part.left, part.width, rows - part.top) if part.width else subject


def stretch(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to the full range 0..1 as rembg does, except without a subject: noise would become one."""
    low, high = float(probabilities.min()), float(probabilities.max())
    if high < SUBJECT or high <= low:
        return probabilities
    return (probabilities - np.float32(low)) / np.float32(high - low)


def _box_of(cells: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not rows.size:
        return Box()
    top, left = int(rows[0]), int(columns[0])
    return Box(top, left, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)
