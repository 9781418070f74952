"""Conjugate gradients with a multigrid preconditioner, for a symmetric matrix over some pixels of an image.

The matrix is stored as a stencil: one row of values per neighbour, one column per unknown pixel. Coarser grids
aggregate 2 x 2 pixels (plain aggregation: Braess, Towards algebraic multigrid for elliptic problems of second order,
Computing 1995), so that every coarse matrix has a 3 x 3 stencil. The smoother is the l1-Jacobi method (Baker, Falgout,
Kolev, Yang: Multigrid smoothers for ultraparallel computing, 2011), which cannot diverge in single precision.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "solve"]

Plane = NDArray[np.float32]
Indices = NDArray[np.int64]

# Maximum pixels of the coarsest grid, and the sweeps that solve it well enough.
COARSEST_PIXELS, COARSEST_SWEEPS = 64, 20
# Relaxation of a sweep: stable below 2. There is one sweep before and one after the correction from the coarser grid.
RELAXATION = np.float32(1.4)
# Aggregation makes the coarse matrix too stiff; its correction is multiplied by this (Braess, section 4).
OVERCORRECTION = np.float32(1.5)


@dataclass(slots=True)
class Grid:
    """A symmetric matrix over the pixels `positions` (flat, ascending) of an image of `shape` (height, width).

    `values` is float32 ((2 * radius + 1) ** 2, pixels): row by row the weight of each neighbour, 0 outside the image.
    """

    shape: tuple[int, int]
    positions: Indices
    values: Plane
    radius: int
    coarser: Grid | None = None
    parents: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    _plane: Plane = field(init=False, repr=False)
    _step: Plane = field(init=False, repr=False)

    def __post_init__(self) -> None:
        height, width = self.shape
        self._plane = np.zeros(height * width + 2 * self._margin, np.float32)
        bound = np.zeros(len(self.positions), np.float32)
        for row in self.values:
            bound += np.abs(row)
        self._step = np.asarray(RELAXATION / np.maximum(bound, np.float32(1e-6)), np.float32)

    @property
    def _margin(self) -> int:
        return self.radius * (self.shape[1] + 1)

    def times(self, vector: Plane, known: Plane | None = None) -> Plane:
        """Return the matrix times a vector over the unknown pixels; `known` (height, width) has the others."""
        if known is not None:
            self._plane[self._margin : self._margin + known.size] = known.ravel()
        self._plane[self.positions + self._margin] = vector
        product, gathered = np.zeros_like(vector), np.empty_like(vector)
        span = range(2 * self.radius + 1)
        offsets = (row * self.shape[1] + column for row in span for column in span)
        for offset, values in zip(offsets, self.values, strict=True):
            np.take(self._plane[offset:], self.positions, out=gathered, mode="clip")
            gathered *= values
            product += gathered
        if known is not None:
            self._plane.fill(0)
        return product

    def smooth(self, solution: Plane, right: Plane, sweeps: int) -> None:
        """Improve `solution` of matrix times solution = right, in place."""
        for _ in range(sweeps):
            solution += self._step * (right - self.times(solution))

    def correct(self, residual: Plane) -> Plane:
        """Return an approximation of the inverse times the residual: one V-cycle, a symmetric operation."""
        solution = self._step * residual
        if self.coarser is None:
            self.smooth(solution, residual, COARSEST_SWEEPS)
            return solution
        left = residual - self.times(solution)
        aggregated = np.bincount(self.parents, weights=left, minlength=len(self.coarser.positions))
        solution += OVERCORRECTION * self.coarser.correct(aggregated.astype(np.float32))[self.parents]
        self.smooth(solution, residual, 1)
        return solution

    def build_coarser(self) -> None:
        """Add the coarser grids, down to COARSEST_PIXELS."""
        grid = self
        while len(grid.positions) > COARSEST_PIXELS:
            grid.coarser = _aggregated(grid)
            grid = grid.coarser


def solve(grid: Grid, known: Plane, start: Plane, tolerance: float, iterations: int) -> Plane:
    """Return the values of the unknown pixels for which the matrix times the whole image is 0.

    `known` (height, width) holds the values around, `start` the first guess. Ends when the error is `tolerance` of the
    first one, or after `iterations`: Hestenes and Stiefel, 1952.
    """
    grid.build_coarser()
    solution = start.copy()
    residual = -grid.times(solution, known)
    direction = grid.correct(residual)
    size = first = float(residual @ direction)
    for _ in range(iterations):
        if size <= tolerance**2 * first or size <= 0:
            break
        product = grid.times(direction)
        length = np.float32(size / float(direction @ product))
        solution += length * direction
        residual -= length * product
        corrected = grid.correct(residual)
        before, size = size, float(residual @ corrected)
        direction = corrected + np.float32(size / before) * direction
    return solution


def _aggregated(grid: Grid) -> Grid:
    """Return the grid of half the size, and set the `parents` of `grid`: the coarse pixel of each of its pixels."""
    height, width = grid.shape
    shape = (-(-height // 2), -(-width // 2))
    rows, columns = np.divmod(grid.positions, width)
    cells = (rows >> 1) * shape[1] + (columns >> 1)
    positions = np.unique(cells)
    grid.parents = np.searchsorted(positions, cells)
    unknown = np.zeros(height * width, np.bool_)
    unknown[grid.positions] = True
    values = np.zeros((9, len(positions)))
    neighbours = ((y, x) for y in range(-grid.radius, grid.radius + 1) for x in range(-grid.radius, grid.radius + 1))
    for (y, x), weights in zip(neighbours, grid.values, strict=True):
        inside = (rows + y >= 0) & (rows + y < height) & (columns + x >= 0) & (columns + x < width)
        chosen = np.flatnonzero(inside)
        chosen = chosen[unknown[grid.positions[chosen] + (y * width + x)]]
        down = ((rows[chosen] + y) >> 1) - (rows[chosen] >> 1) + 1
        right = ((columns[chosen] + x) >> 1) - (columns[chosen] >> 1) + 1
        target = (3 * down + right) * len(positions) + grid.parents[chosen]
        values += np.bincount(target, weights[chosen], values.size).reshape(values.shape)
    return Grid(shape, positions, values.astype(np.float32), 1)
