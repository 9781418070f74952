"""Closed-form alpha matting: hair and fur, from the photo's own colours.

Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting, TPAMI 2008. In every window of 3 x 3 pixels
alpha is assumed to be a linear function of the colours; all windows together give a sparse symmetric matrix, the
matting Laplacian. Alpha is known where the model is certain, and solved in the band between.

The matrix is built only for the pixels of that band, 25 numbers each, and solved by multigrid, first at small scales.
That takes a twentieth of pymatting's memory, and no numba, which takes a minute to compile on every new machine.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.imaging.foreground import enlarge_alpha
from app.imaging.multigrid import Grid, solve
from app.removal import Trimap

__all__ = ["UNKNOWN", "can_be_solved", "draw_trimap", "fitting_scale", "scale_trimap", "solve_alpha", "solver_bytes"]

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255
# Keeps a window of one colour regular: Levin's epsilon, per pixel of the window.
EPSILON = 1e-7 / 9
# More does not improve an alpha of 8 bits.
TOLERANCE, ITERATIONS = 1e-4, 60
# At the photo's own scale, since the start is correct except for details; more make thin hairs worse.
FINEST_ITERATIONS = 10
# Alpha at half the scale, of 255, that differs from 0 or 255 by at most this is final.
CERTAIN = 2
# The first guess is solved at half the scale, recursively down to this many px on the longer side.
MIN_SIDE = 256
# Bytes of the solver: per pixel of the photo, per unknown pixel, and for buffers.
PLANES, STENCIL, FIXED = 16, 260, 20_000_000
# Bytes of a solution at a smaller scale while alpha is enlarged: per pixel of the smaller photo, and of the photo.
ENLARGED, WHOLE = 24, 3
# This many take about 8 s on one core; more are solved at a smaller scale.
MAX_UNKNOWN = 1_500_000
# Rows of the photo, and pixels of the band, processed at once while the matrix is built.
STRIP, CHUNK = 32, 8192


def draw_trimap(mask: Bytes, trimap: Trimap) -> Bytes:
    """Return the trimap of a model's mask (0..255): 255 in the subject, 0 in the background, 128 where unknown.

    Beyond the photo's border is background.
    """
    subject, background = (mask > trimap.foreground).astype(np.uint8), (mask < trimap.background).astype(np.uint8)
    if trimap.erode:
        window = np.ones((trimap.erode, trimap.erode), np.uint8)
        subject = _eroded(subject, window, beyond=0)
        background = _eroded(background, window, beyond=1)
    known = np.full(mask.shape, UNKNOWN, np.uint8)
    known[subject > 0] = FOREGROUND
    known[background > 0] = BACKGROUND
    return known


def _eroded(area: Bytes, window: Bytes, beyond: int) -> Bytes:
    return np.asarray(cv2.erode(area, window, borderType=cv2.BORDER_CONSTANT, borderValue=beyond), np.uint8)


def can_be_solved(known: Bytes) -> bool:
    """Return whether a trimap has subject, background and unknown pixels, and at least the size of a window."""
    return min(known.shape) >= 3 and all((known == value).any() for value in (BACKGROUND, UNKNOWN, FOREGROUND))


def solver_bytes(pixels: int, unknown: int) -> int:
    """Return the peak memory of `solve_alpha` in bytes: fitted to measurements, at most twice the measured peak."""
    return PLANES * pixels + STENCIL * unknown + FIXED


def fitting_scale(known: Bytes, room: int) -> float:
    """Return the maximum scale, up to 1, at which a trimap can be solved in `room` bytes and acceptable time."""
    pixels, unknown = known.size, int(np.count_nonzero(known == UNKNOWN))
    in_time = min(1.0, (MAX_UNKNOWN / max(unknown, 1)) ** 0.5)
    if in_time == 1 and solver_bytes(pixels, unknown) <= room:
        return 1.0
    in_room = (max(room - FIXED, 0) / (PLANES * pixels + STENCIL * unknown)) ** 0.5
    enlarged = (max(room - FIXED - WHOLE * pixels, 0) / (ENLARGED * pixels)) ** 0.5
    min_scale = min(1.0, MIN_SIDE / max(known.shape))
    return float(max(min(in_time, in_room, enlarged), min_scale))


def solve_alpha(photo: Bytes, known: Bytes, guess: Bytes) -> Bytes:
    """Return alpha, uint8 (height, width), of a photo, uint8 (height, width, 3).

    `known` is a trimap that can be solved; `guess`, such as the model's mask, is the start of the iteration.
    """
    return _solved(photo, known, guess, FINEST_ITERATIONS)


def _solved(photo: Bytes, known: Bytes, guess: Bytes, iterations: int) -> Bytes:
    """Return alpha, after `iterations` at this scale if a smaller one gives the start, else ITERATIONS."""
    start = np.where(known == UNKNOWN, guess, known)
    height, width = known.shape
    if max(height, width) >= 2 * MIN_SIDE and min(height, width) >= 6:
        known, start = _from_half_scale(photo, known, start)
    else:
        iterations = ITERATIONS
    grid = _laplacian(photo, known == UNKNOWN)
    alpha = start.astype(np.float32) * np.float32(1 / 255)
    solved = solve(grid, alpha, alpha.ravel()[grid.positions], TOLERANCE, iterations)
    result = start.ravel()
    result[grid.positions] = np.rint(np.clip(solved, 0, 1) * 255)
    return result.reshape(known.shape)


def _from_half_scale(photo: Bytes, known: Bytes, guess: Bytes) -> tuple[Bytes, Bytes]:
    """Return (trimap, start) for a photo from the solution at half its scale.

    As in Levin et al., section 6: alpha is extrapolated as a linear function of the colours, and pixels whose
    surroundings are completely subject or background are known.
    """
    height, width = known.shape
    half = (-(-width // 2), -(-height // 2))
    small, small_guess = (
        np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.uint8) for plane in (photo, guess)
    )
    coarse = _solved(small, scale_trimap(known, half), small_guess, ITERATIONS)
    certain = np.full_like(coarse, UNKNOWN)
    for value, near in ((BACKGROUND, coarse <= CERTAIN), (FOREGROUND, coarse >= 255 - CERTAIN)):
        certain[_eroded(near.view(np.uint8), np.ones((3, 3), np.uint8), beyond=1) > 0] = value
    certain = np.asarray(cv2.resize(certain, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    trimap = np.where(known == UNKNOWN, certain, known)
    return trimap, np.where(trimap == UNKNOWN, enlarge_alpha(photo, coarse), trimap)


def scale_trimap(known: Bytes, size: tuple[int, int]) -> Bytes:
    """Return a trimap scaled down to `size` (width, height): known only where all source pixels are."""
    small = np.asarray(cv2.resize(known, size, interpolation=cv2.INTER_AREA), np.uint8)
    small[(small != BACKGROUND) & (small != FOREGROUND)] = UNKNOWN
    return small


def _laplacian(photo: Bytes, unknown: NDArray[np.bool_]) -> Grid:
    """Return the rows of the matting Laplacian (Levin et al., eq. 12) for the unknown pixels."""
    height, width = unknown.shape
    positions = np.flatnonzero(unknown)
    values = np.empty((25, len(positions)), np.float32)
    for top in range(0, height, STRIP):
        first, last = np.searchsorted(positions, [top * width, (top + STRIP) * width])
        if first == last:
            continue
        above = max(0, top - 2)
        strip = _Strip(photo[above : top + STRIP + 2], at_top=above == 0, at_bottom=top + STRIP + 2 >= height)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            values[:, start:stop] = strip.rows(positions[start:stop] - above * width)
    return Grid((height, width), positions, values, 2)


class _Strip:
    """Rows of the photo with the statistics of the window around each pixel: flat, in double precision."""

    def __init__(self, photo: Bytes, *, at_top: bool, at_bottom: bool) -> None:
        height, width = photo.shape[:2]
        colours = photo.astype(np.float64) / 255
        mean = np.asarray(cv2.blur(colours, (3, 3)), np.float64)
        self._width = width
        self._colours, self._mean = colours.reshape(-1, 3), mean.reshape(-1, 3)
        self._inverse = _inverse_covariance(colours, mean).reshape(-1, 6)
        inside = np.zeros((height, width), np.float64)  # a window counts only if it is completely in the photo
        inside[1 if at_top else 0 : height - 1 if at_bottom else height, 1:-1] = 1
        self._inside = inside.ravel()

    def rows(self, positions: Indices) -> Doubles:
        """Return (25, pixels): the weights of each neighbour within 2 px of the pixels at `positions`."""
        values = np.empty((5, 5, len(positions)))
        own, windows = self._colours[positions], np.empty((3, 3, 4, len(positions)))
        count = np.zeros(len(positions))
        for y in range(3):
            for x in range(3):
                centre = self._neighbours(positions, y - 1, x - 1)
                inside = self._inside[centre]  # at the photo's edge `centre` wraps, but only to other edges
                mean = self._mean[centre]
                slope = _times(self._inverse[centre], own - mean) * (inside / 9)
                windows[y, x, :3], windows[y, x, 3] = slope, inside / 9 - (slope * mean.T).sum(axis=0)
                count += inside
        sums = np.stack(_sums_by_offset(np.stack(_sums_by_offset(windows), axis=1)), axis=1)
        for y in range(5):
            for x in range(5):
                colours = self._colours[self._neighbours(positions, y - 2, x - 2)]
                values[y, x] = -(sums[y, x, :3] * colours.T).sum(axis=0) - sums[y, x, 3]
        values[2, 2] += count
        return values.reshape(25, -1)

    def _neighbours(self, positions: Indices, down: int, right: int) -> Indices:
        return np.asarray(np.clip(positions + (down * self._width + right), 0, len(self._inside) - 1), np.int64)


def _sums_by_offset(windows: Doubles) -> list[Doubles]:
    """Return, for the offsets -2, -1, 0, 1 and 2, the sum of those of three adjacent windows that contain it.

    Written out, since for a product of matrices OpenBLAS allocates 32 MB.
    """
    first, middle, last = windows
    return [first, first + middle, first + middle + last, middle + last, last]


def _inverse_covariance(colours: Doubles, mean: Doubles) -> Doubles:
    """Return rr, rg, rb, gg, gb, bb of the inverse of each window's covariance, by Cramer's rule."""
    following = (1, 2, 0)  # for red x green, green x blue, blue x red
    rr, gg, bb = cv2.split(cv2.blur(colours * colours, (3, 3)) - mean * mean + EPSILON)
    rg, gb, rb = cv2.split(cv2.blur(colours * colours[..., following], (3, 3)) - mean * mean[..., following])
    first = (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb)
    others = (rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg)
    determinant = first[0] * rr + first[1] * rg + first[2] * rb
    return np.asarray(cv2.merge([minor / determinant for minor in (*first, *others)]), np.float64)


def _times(inverse: Doubles, vectors: Doubles) -> Doubles:
    """Return (3, n): symmetric matrices, (n, 6), times vectors, (n, 3)."""
    (rr, rg, rb, gg, gb, bb), (r, g, b) = inverse.T, vectors.T
    return np.stack([rr * r + rg * g + rb * b, rg * r + gg * g + gb * b, rb * r + gb * g + bb * b])
