"""Refinement of a coarse mask, and the subject's own colours along its edge.

The model's output is on a small square grid. Scaled to the photo, its edge is soft and off by a few pixels, and edge
pixels contain the old background's colour. Two steps correct that:

- a guided filter (He, Sun, Tang: Guided Image Filtering, TPAMI 2013; solved on a smaller grid as in He, Sun: Fast
  Guided Filter, 2015) makes alpha a local linear function of the photo's colours, so that the edge follows the photo's;
- two passes of blur fusion (Forte: Approximate Fast Foreground Colour Estimation, ICIP 2021) estimate the colours of
  subject and background, and keep only the subject's in each edge pixel.

Both are solved on a grid of at most a quarter of the photo's scale. At full size only small tiles along the edge are
changed, a batch at a time, so that memory holds no more than the photo and one plane of alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["grid_step", "guided_coefficients", "refine_edges", "smooth_colours", "upsample"]

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Grid = TypeVar("Grid", NDArray[np.float32], NDArray[np.uint8])

# The grid of the coefficients: a quarter of the photo's scale, but at least this many cells on its longer side, since
# it must not be coarser than the model's own grid.
MIN_GRID = 240
MAX_STEP = 4
# Radius of the guided filter, 1.5 cells of a 320 px mask: an edge of the model is correct within about that.
EDGE_RADIUS = 1.5 / 320
# Contrast (variance of colours in 0..1) below which the filter follows the mask rather than the photo.
EDGE_EPSILON = 1e-3
# Forte's radii for both passes, in px of the photo.
FUSION_RADII = (90, 6)
# Alpha below or above these is noise of the model rather than hair or glass.
CLEAR, SOLID = 0.05, 0.95
# Next channel, for the products red x green, green x blue, blue x red.
NEXT = [1, 2, 0]
# Side of a tile in px (rounded to whole cells), and tiles per batch: about the size of a core's cache.
TILE, BATCH = 32, 32


def upsample(probabilities: Plane, size: tuple[int, int]) -> Bytes:
    """Return the model's probabilities (float32 in 0..1) as 8-bit alpha of `size` (width, height)."""
    coarse = np.rint(probabilities * 255).astype(np.uint8)
    shrinking = size[0] < coarse.shape[1] and size[1] < coarse.shape[0]  # then areas are averaged
    resampling = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(coarse, size, interpolation=resampling), np.uint8)


def grid_step(size: tuple[int, ...]) -> int:
    """Return the side of a cell of the small grid, in px of a photo of this size."""
    return min(max(max(size) // MIN_GRID, 1), MAX_STEP)


def refine_edges(rgb: Bytes, probabilities: Plane) -> tuple[Bytes, Bytes]:
    """Return (colours, alpha) of the subject at the photo's full size.

    `rgb` is uint8 (height, width, 3), `probabilities` float32 in 0..1 on the model's grid. Colours are uint8
    (height, width, 3), unchanged away from the edge; alpha is uint8 (height, width).
    """
    height, width = rgb.shape[:2]
    step = grid_step((height, width))
    side = TILE // step * step
    colours = np.asarray(cv2.copyMakeBorder(rgb, 0, -height % side, 0, -width % side, cv2.BORDER_REPLICATE), np.uint8)
    whole_cells = colours[: height + -height % step, : width + -width % step]
    edge = _solve(whole_cells, (width, height), probabilities, step)
    grid = (colours.shape[0] // step, colours.shape[1] // step)
    solid = _extended((edge.alpha > 0.5).view(np.uint8) * np.uint8(255), grid)
    alpha = np.asarray(cv2.resize(solid, colours.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    edge.apply(colours, alpha, step)
    return colours[:height, :width], alpha[:height, :width]


@dataclass(frozen=True, slots=True)
class _Edge:
    """Solution on the small grid.

    `band` is 1 in the cells along the edge. `coefficients` is float32 (10, rows, columns): slopes (3) and offset for
    alpha from colours in 0..255, the background's colours (3) and the contrast (3), which is subject minus background,
    all in 0..255.
    """

    alpha: Plane
    band: Bytes
    coefficients: Plane

    def apply(self, colours: Bytes, alpha: Bytes, step: int) -> None:
        """Replace colours and alpha, both made of whole tiles with `step` px a cell, in the tiles of the band."""
        cells = TILE // step
        colour_tiles, alpha_tiles = _tiles(colours, cells * step), _tiles(alpha, cells * step)
        rows, columns = alpha.shape[0] // step, alpha.shape[1] // step
        touched = np.argwhere(_tiles(_extended(self.band, (rows, columns)), cells).any(axis=(2, 3)))
        grid = _extended(self.coefficients, (rows + 1, columns + 1), before=1)
        enlarge, window = _interpolation(cells, step), np.arange(cells + 2)
        for first in range(0, len(touched), BATCH):
            y, x = touched[first : first + BATCH].T
            rows_of, columns_of = y[:, None] * cells + window, x[:, None] * cells + window
            coarse = grid[:, rows_of[:, :, None], columns_of[:, None, :]]
            # Vertically tile by tile, then horizontally as one large product, in half the time of many small ones.
            fine = (enlarge @ coarse).reshape(-1, cells + 2) @ enlarge.T
            photo = colour_tiles[y, x]
            shape = photo.shape[:3]
            planes = np.stack(cv2.split(photo.reshape(-1, shape[2], 3))).astype(np.float32)
            own, share = _composed(planes, np.asarray(fine, np.float32).reshape(10, *planes.shape[1:]))
            colour_tiles[y, x] = np.asarray(cv2.merge(list(own)), np.uint8).reshape(photo.shape)
            alpha_tiles[y, x] = share.reshape(shape)


def _composed(photo: Plane, fine: Plane) -> tuple[Bytes, Bytes]:
    """Return (colours, alpha) of some pixels from their colours (3, …) in 0..255 and their coefficients (10, …).

    Both are overwritten.
    """
    slope, alpha, background, contrast = fine[:3], fine[3], fine[4:7], fine[7:]
    slope *= photo
    alpha += slope.sum(axis=0)
    np.clip(alpha, 0, 1, out=alpha)
    # F = F' + alpha (I - alpha F' - (1 - alpha) B'), with F' = B' + contrast: first the term that is added to F'.
    background += contrast
    photo -= background
    contrast *= 1 - alpha
    photo += contrast
    photo *= alpha
    # Both calls round and clip to bytes in a fifth of NumPy's time.
    flat, behind = photo.reshape(-1, photo.shape[-1]), background.reshape(-1, photo.shape[-1])
    colours = np.asarray(cv2.add(flat, behind, dtype=cv2.CV_8U), np.uint8).reshape(photo.shape)
    return colours, np.asarray(cv2.convertScaleAbs(alpha, alpha=255), np.uint8)


def _tiles(plane: Bytes, side: int) -> Bytes:
    """Return a plane made of whole tiles as a view (tile row, tile column, row, column, …)."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    return plane.reshape(rows, side, columns, side, *plane.shape[2:]).swapaxes(1, 2)


def _extended(grid: Grid, size: tuple[int, int], before: int = 0) -> Grid:
    """Repeat the last cells of a grid (…, rows, columns) up to `size`, and the first ones `before` times."""
    below, beside = size[0] - grid.shape[-2], size[1] - grid.shape[-1]
    around = [(0, 0)] * (grid.ndim - 2) + [(before, below), (before, beside)]
    return np.pad(grid, around, mode="edge")


@cache
def _interpolation(cells: int, step: int) -> Plane:
    """Return the matrix (px, cells + 2) of linear interpolation from a row of cells, with one more at each end."""
    position = (np.arange(cells * step) + 0.5) / step + 0.5
    return np.maximum(0, 1 - abs(position[:, None] - np.arange(cells + 2))).astype(np.float32)


def _solve(rgb: Bytes, photo_size: tuple[int, int], probabilities: Plane, step: int) -> _Edge:
    """Solve on cells of `step` px; `rgb` is the photo of `photo_size` (width, height), padded to whole cells."""
    size = (rgb.shape[1] // step, rgb.shape[0] // step)
    small = _means_of_cells(rgb, step)
    photo = np.stack(cv2.split(small)).astype(np.float32) * np.float32(1 / 255)
    mask = _on_cells(probabilities, photo_size, size, step)
    longest = max(photo_size)
    slope, offset = guided_coefficients(photo, mask, max(1, round(EDGE_RADIUS * longest / step)))
    slope *= np.float32(1 / (SOLID - CLEAR))
    offset = (offset - np.float32(CLEAR)) * np.float32(1 / (SOLID - CLEAR))
    alpha = np.clip((slope * photo).sum(axis=0) + offset, 0, 1)
    subject, background = smooth_colours(photo, alpha, step)
    colours = np.concatenate([background, subject - background]) * np.float32(255)
    return _Edge(alpha, _band(alpha), np.concatenate([slope * np.float32(1 / 255), offset[None], colours]))


def _means_of_cells(rgb: Bytes, step: int) -> Bytes:
    """Return the means of cells of `step` px; halving twice takes a third of the time of quartering."""
    while step > 1:
        part = 2 if step % 2 == 0 else step
        size = (rgb.shape[1] // part, rgb.shape[0] // part)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        step //= part
    return rgb


def _on_cells(probabilities: Plane, photo_size: tuple[int, int], size: tuple[int, int], step: int) -> Plane:
    """Return the mask on `size` (width, height) cells of `step` px; the last ones may extend beyond the photo."""
    rows, columns = probabilities.shape
    reduced = (min(columns, size[0]), min(rows, size[1]))
    if reduced != (columns, rows):
        probabilities = np.asarray(cv2.resize(probabilities, reduced, interpolation=cv2.INTER_AREA), np.float32)
    x, y = (step * cells / pixels for cells, pixels in zip(reduced, photo_size, strict=True))
    positions = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(probabilities, positions, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _band(alpha: Plane) -> Bytes:
    """Return 1 where alpha is fractional or changes between neighbouring cells, and in the cells around."""
    uncertain = ((alpha > 0.002) & (alpha < 0.998)).view(np.uint8)
    solid = (alpha > 0.5).view(np.uint8)
    around = np.ones((3, 3), np.uint8)
    changing = np.asarray(cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, around), np.uint8)
    return np.asarray(cv2.dilate(uncertain | changing, around), np.uint8)


def _blur(planes: Plane, radius: int) -> Plane:
    """Return the mean over a square window of 2 * radius + 1 cells, for one plane or a stack of them."""
    means, side = np.empty(planes.shape, np.float32), 2 * radius + 1
    sources, targets = (planes, means) if planes.ndim == 3 else (planes[None], means[None])
    for source, target in zip(sources, targets, strict=True):
        cv2.blur(source, (side, side), dst=target, borderType=cv2.BORDER_REFLECT)
    return means


def guided_coefficients(photo: Plane, mask: Plane, radius: int) -> tuple[Plane, Plane]:
    """Return (slope, offset) such that alpha = slope . photo + offset: He et al., eq. 19 to 21, colour guide.

    `photo` is float32 (3, rows, columns) in 0..1, `mask` (rows, columns) in 0..1; slope and offset have these shapes.
    """
    mean_mask, mean_photo = _blur(mask, radius), _blur(photo, radius)
    cr, cg, cb = _blur(photo * mask, radius) - mean_photo * mean_mask
    rr, gg, bb = _blur(photo * photo, radius) - mean_photo * mean_photo + np.float32(EDGE_EPSILON)
    rg, gb, rb = _blur(photo * photo[NEXT], radius) - mean_photo * mean_photo[NEXT]
    # The symmetric 3 x 3 system is solved by Cramer's rule; epsilon on its diagonal keeps it regular.
    cof_rr, cof_gg, cof_bb = gg * bb - gb * gb, rr * bb - rb * rb, rr * gg - rg * rg
    cof_rg, cof_rb, cof_gb = gb * rb - rg * bb, rg * gb - gg * rb, rb * rg - rr * gb
    slope = np.stack(
        [
            cof_rr * cr + cof_rg * cg + cof_rb * cb,
            cof_rg * cr + cof_gg * cg + cof_gb * cb,
            cof_rb * cr + cof_gb * cg + cof_bb * cb,
        ]
    )
    slope /= cof_rr * rr + cof_rg * rg + cof_rb * rb
    offset = mean_mask - (slope * mean_photo).sum(axis=0)
    return _blur(slope, radius), _blur(offset, radius)


def smooth_colours(photo: Plane, alpha: Plane, step: int) -> tuple[Plane, Plane]:
    """Return the smooth (subject, background) colours, the input of Forte's last step.

    `photo` and both results are float32 (3, rows, columns) in 0..1; `alpha` is (rows, columns) in 0..1; a cell is
    `step` px.
    """
    clear = 1 - alpha
    subject, background = photo, photo
    for index, pixels in enumerate(FUSION_RADII):
        radius = max(1, round(pixels / step))
        if index:
            subject = np.clip(subject + alpha * (photo - alpha * subject - clear * background), 0, 1)
        weight = _blur(alpha, radius)
        subject = _blur(subject * alpha, radius) / (weight + np.float32(1e-5))
        background = _blur(background * clear, radius) / (1 - weight + np.float32(1e-5))
    return subject, background
