"""A coarse mask made sharp, and the subject's own colours along its edge.

The model answers on a small square grid. Stretched to the photo, its edge is soft and off by a few pixels, and pixels
on it still carry the old background's colour. Two steps mend that:

- a guided filter (He, Sun, Tang: Guided Image Filtering, TPAMI 2013; solved on a smaller grid as in He, Sun: Fast
  Guided Filter, 2015) makes alpha a local linear function of the photo's colours, so that the edge follows the photo's;
- two passes of blur fusion (Forte: Approximate Fast Foreground Colour Estimation, ICIP 2021) estimate the colours of
  subject and background, and leave in each edge pixel the subject's only.

Both are solved on a grid of at most a quarter of the photo's scale. At full size only blocks that the edge crosses are
touched, one after the other, so that no more than the photo itself and one plane of alpha live at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["refine_edges", "upsample"]

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# The grid on which coefficients are solved: a quarter of the photo's scale, but not below this many px on its longer
# side, where it would be coarser than the model's own grid.
COARSEST_GRID = 256
LARGEST_STEP = 4
# Radius of the guided filter in cells of a 320 px mask: an edge of the model is right within about that.
EDGE_RADIUS = 1.5 / 320
# Contrast (variance of colours in 0..1) under which the filter trusts the mask rather than the photo.
EDGE_EPSILON = 1e-3
# Forte's radii for both passes, in px of the photo.
FUSION_RADII = (90, 6)
# Alpha below or above these is haze or a pinhole of the model rather than hair or glass.
CLEAR, SOLID = 0.05, 0.95
BLOCK = 128


def upsample(probabilities: Plane, size: tuple[int, int]) -> Bytes:
    """Return the model's probabilities (float32 in 0..1) as 8-bit alpha of `size` (width, height)."""
    coarse = np.rint(probabilities * 255).astype(np.uint8)
    return np.asarray(
        cv2.resize(coarse, size, interpolation=_resampling(coarse.shape, size, cv2.INTER_CUBIC)), np.uint8
    )


def refine_edges(rgb: Bytes, probabilities: Plane) -> tuple[Bytes, Bytes]:
    """Return (colours, alpha) of the subject at the photo's full size.

    `rgb` is uint8 (height, width, 3), `probabilities` float32 in 0..1 on the model's grid. Colours are uint8
    (height, width, 3), the photo's own away from the edge; alpha is uint8 (height, width).
    """
    height, width = rgb.shape[:2]
    edge = _solve(rgb, probabilities)
    colours = rgb.copy()
    solid = (edge.alpha > 0.5).astype(np.uint8) * np.uint8(255)
    alpha = np.asarray(cv2.resize(solid, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    for rows, columns in _blocks_on_edge(edge.band, height, width):
        colours[rows, columns], alpha[rows, columns] = edge.apply(rgb[rows, columns], rows.start, columns.start)
    return colours, alpha


@dataclass(frozen=True, slots=True)
class _Edge:
    """What was solved on the small grid; `scale` is (x, y) px of the photo per cell.

    `slope` and `offset` give alpha from colours in 0..255, `background` and `contrast` (subject minus background) the
    colours in 0..255.
    """

    scale: tuple[float, float]
    alpha: Plane
    band: Bytes
    slope: Plane
    offset: Plane
    background: Plane
    contrast: Plane

    def apply(self, block: Bytes, top: int, left: int) -> tuple[Bytes, Bytes]:
        """Return (colours, alpha) of one block of the photo."""
        height, width = block.shape[:2]
        photo = block.astype(np.float32)
        slope, offset, background, contrast = (
            self._enlarge(grid, top, left, height, width)
            for grid in (self.slope, self.offset, self.background, self.contrast)
        )
        alpha = cv2.transform(cv2.multiply(slope, photo), np.ones((1, 3), np.float32)) + offset
        np.clip(alpha, 0, 1, out=alpha)
        alpha3 = cv2.merge([alpha, alpha, alpha])
        # F = F' + alpha (I - alpha F' - (1 - alpha) B'), with F' = B' + contrast.
        colours = background + contrast + alpha3 * (photo - background - alpha3 * contrast)
        np.clip(colours, 0, 255, out=colours)
        return np.rint(colours).astype(np.uint8), np.rint(alpha * 255).astype(np.uint8)

    def _enlarge(self, grid: Plane, top: int, left: int, height: int, width: int) -> Plane:
        """Return the part of `grid` under a block, interpolated to the photo's pixels."""
        x, y = 1 / self.scale[0], 1 / self.scale[1]
        cells = np.array([[x, 0, (left + 0.5) * x - 0.5], [0, y, (top + 0.5) * y - 0.5]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        enlarged = cv2.warpAffine(grid, cells, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(enlarged, np.float32)


def _solve(rgb: Bytes, probabilities: Plane) -> _Edge:
    height, width = rgb.shape[:2]
    longest = max(height, width)
    step = min(max(longest // COARSEST_GRID, 1), LARGEST_STEP)
    size = (-(-width // step), -(-height // step))
    photo = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32) * np.float32(1 / 255)
    resampling = _resampling(probabilities.shape, size, cv2.INTER_LINEAR)
    mask = np.asarray(cv2.resize(probabilities, size, interpolation=resampling), np.float32)
    slope, offset = _guided_coefficients(photo, mask, max(1, round(EDGE_RADIUS * longest / step)))
    slope, offset = slope / (SOLID - CLEAR), (offset - CLEAR) / (SOLID - CLEAR)
    alpha = np.clip((slope * photo).sum(axis=2) + offset, 0, 1)
    subject, background = _fuse(photo, alpha, [max(1, round(radius / step)) for radius in FUSION_RADII])
    return _Edge(
        scale=(width / size[0], height / size[1]),
        alpha=alpha,
        band=_band(alpha),
        slope=slope / np.float32(255),
        offset=offset,
        background=background * 255,
        contrast=(subject - background) * 255,
    )


def _resampling(grid: tuple[int, ...], size: tuple[int, int], enlarging: int) -> int:
    """Return OpenCV's resampling: areas are averaged where the mask (rows, columns) shrinks to (width, height)."""
    return cv2.INTER_AREA if size[0] < grid[1] and size[1] < grid[0] else enlarging


def _band(alpha: Plane) -> Bytes:
    """Return 1 where alpha is between, or changes from a cell to the next, and in the cells around."""
    uncertain = ((alpha > 0.002) & (alpha < 0.998)).astype(np.uint8)
    solid = (alpha > 0.5).astype(np.uint8)
    around = np.ones((3, 3), np.uint8)
    changing = np.asarray(cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, around), np.uint8)
    return np.asarray(cv2.dilate(uncertain | changing, around), np.uint8)


def _blocks_on_edge(band: Bytes, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks of the photo in which the band has a cell."""
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    ys = np.arange(rows + 1) * BLOCK
    xs = np.arange(columns + 1) * BLOCK
    for top in ys[:-1]:
        for left in xs[:-1]:
            bottom, right = min(top + BLOCK, height), min(left + BLOCK, width)
            if _covered(band, (top, bottom, height), (left, right, width)).any():
                yield slice(int(top), int(bottom)), slice(int(left), int(right))


def _covered(band: Bytes, y: tuple[int, int, int], x: tuple[int, int, int]) -> Bytes:
    """Return the cells under a block, given as (start, end, whole) px along each axis."""
    rows, columns = band.shape
    return band[y[0] * rows // y[2] : -(-y[1] * rows // y[2]), x[0] * columns // x[2] : -(-x[1] * columns // x[2])]


def _blur(values: Plane, radius: int) -> Plane:
    """Return the mean over a square window of 2 * radius + 1 cells."""
    side = 2 * radius + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)


def _guided_coefficients(photo: Plane, mask: Plane, radius: int) -> tuple[Plane, Plane]:
    """Return (slope, offset) such that alpha = slope . photo + offset: He et al., eq. 19 to 21, colour guide."""
    mean_mask, mean_photo = _blur(mask, radius), _blur(photo, radius)
    covariance = _blur(photo * mask[..., None], radius) - mean_photo * mean_mask[..., None]
    r, g, b = cv2.split(photo)
    mean_r, mean_g, mean_b = cv2.split(mean_photo)
    rr = _blur(r * r, radius) - mean_r * mean_r + EDGE_EPSILON
    gg = _blur(g * g, radius) - mean_g * mean_g + EDGE_EPSILON
    bb = _blur(b * b, radius) - mean_b * mean_b + EDGE_EPSILON
    rg = _blur(r * g, radius) - mean_r * mean_g
    rb = _blur(r * b, radius) - mean_r * mean_b
    gb = _blur(g * b, radius) - mean_g * mean_b
    # The symmetric 3 x 3 system is solved by Cramer's rule; epsilon on its diagonal keeps it regular.
    cof_rr, cof_gg, cof_bb = gg * bb - gb * gb, rr * bb - rb * rb, rr * gg - rg * rg
    cof_rg, cof_rb, cof_gb = gb * rb - rg * bb, rg * gb - gg * rb, rb * rg - rr * gb
    determinant = cof_rr * rr + cof_rg * rg + cof_rb * rb
    cr, cg, cb = cv2.split(covariance)
    slope = cv2.merge(
        [
            (cof_rr * cr + cof_rg * cg + cof_rb * cb) / determinant,
            (cof_rg * cr + cof_gg * cg + cof_gb * cb) / determinant,
            (cof_rb * cr + cof_gb * cg + cof_bb * cb) / determinant,
        ]
    )
    offset = mean_mask - (slope * mean_photo).sum(axis=2)
    return _blur(np.asarray(slope, np.float32), radius), _blur(offset, radius)


def _fuse(photo: Plane, alpha: Plane, radii: list[int]) -> tuple[Plane, Plane]:
    """Return the smooth (subject, background) colours from which Forte's last step starts."""
    alpha3 = np.asarray(cv2.merge([alpha, alpha, alpha]), np.float32)
    subject, background = photo, photo
    for index, radius in enumerate(radii):
        if index:
            subject = np.clip(subject + alpha3 * (photo - alpha3 * subject - (1 - alpha3) * background), 0, 1)
        weight = _blur(alpha3, radius)
        subject = _blur(subject * alpha3, radius) / (weight + np.float32(1e-5))
        background = _blur(background * (1 - alpha3), radius) / (1 - weight + np.float32(1e-5))
    return subject, background
