"""Full-size alpha from a smaller solution, and the subject's own colours under an alpha.

Both work block by block, and change only blocks with half-transparent pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from app.imaging import matte

__all__ = ["enlarge_alpha", "subject_colours"]

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Block = tuple[slice, slice]

BLOCK, STRIP = 128, 32
# Radius of the guided filter on the small photo: alpha is correct there, and only has to follow the edges.
RADIUS = 1


def enlarge_alpha(photo: Bytes, small: Bytes) -> Bytes:
    """Return alpha of the photo's size, uint8, from a smaller one: He, Sun: Fast Guided Filter, 2015."""
    slope, offset = _coefficients(photo, small)
    alpha = np.asarray(cv2.resize(small, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    for block in _half_transparent(alpha):
        fine_slope, fine_offset = (_enlarged(grid, block, photo.shape) for grid in (slope, offset))
        fine = (fine_slope * (photo[block] / np.float32(255))).sum(axis=2) + fine_offset
        alpha[block] = np.rint(np.clip(fine, 0, 1) * 255)
    return alpha


def subject_colours(photo: Bytes, alpha: Bytes) -> Bytes:
    """Return the photo with the background's colour removed from half-transparent pixels.

    Forte: Approximate Fast Foreground Colour Estimation, ICIP 2021. The initial smooth colours are computed at a
    quarter of the photo's scale.
    """
    height, width = alpha.shape
    step = matte.grid_step(alpha.shape)
    size = (-(-width // step), -(-height // step))
    small, small_alpha = (
        np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32) * np.float32(1 / 255)
        for plane in (photo, alpha)
    )
    planes = matte.smooth_colours(np.stack(cv2.split(small)), small_alpha, step)
    subject, background = (np.asarray(cv2.merge(list(colour)), np.float32) for colour in planes)
    colours = photo.copy()
    for block in _half_transparent(alpha):
        own, behind = (_enlarged(grid, block, photo.shape) * 255 for grid in (subject, background))
        here, share = photo[block].astype(np.float32), (alpha[block] / np.float32(255))[..., None]
        colours[block] = np.rint(np.clip(own + share * (here - share * own - (1 - share) * behind), 0, 255))
    return colours


def _coefficients(photo: Bytes, small: Bytes) -> tuple[Plane, Plane]:
    """Return (slope, offset) for alpha from colours in 0..1, on the grid of `small`; in strips, to save memory."""
    rows, columns = small.shape
    guide = np.asarray(cv2.resize(photo, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    slope, offset = np.empty((rows, columns, 3), np.float32), np.empty((rows, columns), np.float32)
    for top in range(0, rows, STRIP):
        first, last = max(0, top - 2 * RADIUS), top + STRIP + 2 * RADIUS
        colours, alpha = (plane[first:last] * np.float32(1 / 255) for plane in (guide, small))
        strip_slope, strip_offset = matte.guided_coefficients(colours.transpose(2, 0, 1), alpha, RADIUS)
        for whole, part in ((slope, strip_slope.transpose(1, 2, 0)), (offset, strip_offset)):
            whole[top : top + STRIP] = part[top - first :][:STRIP]
    return slope, offset


def _half_transparent(alpha: Bytes) -> Iterator[Block]:
    """Yield the blocks with half-transparent pixels."""
    height, width = alpha.shape
    for top in range(0, height, BLOCK):
        for left in range(0, width, BLOCK):
            block = slice(top, min(top + BLOCK, height)), slice(left, min(left + BLOCK, width))
            if ((alpha[block] > 0) & (alpha[block] < 255)).any():
                yield block


def _enlarged(grid: Plane, block: Block, size: tuple[int, ...]) -> Plane:
    """Return the part of `grid` under a block of an image of `size` (height, width), interpolated to its pixels."""
    rows, columns = block
    y, x = grid.shape[0] / size[0], grid.shape[1] / size[1]
    cells = np.array([[x, 0, (columns.start + 0.5) * x - 0.5], [0, y, (rows.start + 0.5) * y - 0.5]])
    part = (columns.stop - columns.start, rows.stop - rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(grid, cells, part, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)
