"""Multigrid solver: products, smoothing, coarser grids, solutions of known systems."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.imaging.multigrid import COARSEST_PIXELS, Grid, solve

Plane = NDArray[np.float32]
Indices = NDArray[np.int64]
OFFSETS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
NO_POSITIONS = np.empty(0, np.int64)


def laplacian(side: int, positions: Indices) -> Grid:
    """Return the graph Laplacian of a square image with 8 neighbours, for the pixels at `positions`."""
    rows, columns = np.divmod(positions, side)
    values = np.zeros((9, len(positions)), np.float32)
    for number, (down, right) in enumerate(OFFSETS):
        inside = (rows + down >= 0) & (rows + down < side) & (columns + right >= 0) & (columns + right < side)
        values[number] = np.where(inside & (number != 4), -1, 0)
    values[4] = -values.sum(axis=0)
    return Grid((side, side), positions, values, 1)


def inner(side: int) -> Indices:
    """Return the positions of all pixels that are not on the border."""
    return np.arange(side * side).reshape(side, side)[1:-1, 1:-1].ravel()


def dense(grid: Grid) -> NDArray[np.float64]:
    """Return the matrix of a grid over its unknown pixels."""
    unit = np.eye(len(grid.positions), dtype=np.float32)
    return np.stack([grid.times(row) for row in unit], axis=1).astype(np.float64)


def random(count: int, seed: int = 1) -> Plane:
    return np.random.default_rng(seed).random(count).astype(np.float32)


def test_a_product_equals_that_of_the_written_matrix() -> None:
    positions = np.array([0, 1, 4])  # of 3 x 3 pixels: a corner, its right neighbour, the centre
    expected = np.array([[3, -1, -1], [-1, 5, -1], [-1, -1, 8]])
    assert (dense(laplacian(3, positions)) == expected).all()


def test_a_product_includes_the_known_pixels() -> None:
    grid = laplacian(3, np.array([4]))
    known = np.array([[1, 2, 3], [4, 0, 6], [7, 8, 9]], np.float32)
    assert grid.times(np.array([10], np.float32), known) == [8 * 10 - 40]


def test_known_pixels_do_not_affect_later_products() -> None:
    grid, vector = laplacian(6, inner(6)), random(16)
    before = grid.times(vector)
    grid.times(vector, np.ones((6, 6), np.float32))
    assert (grid.times(vector) == before).all()


def test_smoothing_reduces_the_error_and_keeps_a_solution() -> None:
    grid, solution = laplacian(20, inner(20)), random(18 * 18)
    right = grid.times(solution)
    guess = np.zeros_like(solution)
    errors = [np.abs(guess - solution).sum()]
    for _ in range(5):
        grid.smooth(guess, right, 10)
        errors.append(np.abs(guess - solution).sum())
    assert errors == sorted(errors, reverse=True)
    exact = solution.copy()
    grid.smooth(exact, right, 10)
    assert np.allclose(exact, solution, atol=1e-4)


def test_a_coarser_matrix_is_the_aggregation_of_the_finer_one() -> None:
    grid = laplacian(20, inner(20))
    grid.build_coarser()
    coarser = grid.coarser
    assert coarser is not None
    aggregation = np.zeros((len(coarser.positions), len(grid.positions)))
    aggregation[grid.parents, np.arange(len(grid.positions))] = 1
    assert np.allclose(dense(coarser), aggregation @ dense(grid) @ aggregation.T)


def test_each_pixel_belongs_to_the_coarse_pixel_of_its_square() -> None:
    grid = laplacian(21, inner(21))
    grid.build_coarser()
    coarser = grid.coarser
    assert coarser is not None and coarser.shape == (11, 11)
    rows, columns = np.divmod(grid.positions, 21)
    assert (coarser.positions[grid.parents] == rows // 2 * 11 + columns // 2).all()


@pytest.mark.parametrize("side", [3, 10, 40, 41])
def test_grids_become_coarser_until_they_are_small(side: int) -> None:
    grid: Grid | None = laplacian(side, inner(side))
    assert grid is not None
    grid.build_coarser()
    sizes = []
    while grid is not None:
        sizes.append(len(grid.positions))
        grid = grid.coarser
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1] <= COARSEST_PIXELS
    assert all(size > COARSEST_PIXELS for size in sizes[:-1])


def test_a_correction_is_symmetric_and_positive_definite() -> None:
    """Conjugate gradients need both of a preconditioner."""
    grid = laplacian(24, inner(24))
    grid.build_coarser()
    one, other = random(22 * 22, seed=2) - 0.5, random(22 * 22, seed=3) - 0.5
    assert one @ grid.correct(other) == pytest.approx(other @ grid.correct(one), rel=1e-3)
    assert one @ grid.correct(one) > 0


@pytest.mark.parametrize("side", [3, 10, 40, 61])
def test_a_plane_on_the_border_is_continued_inside(side: int) -> None:
    plane = np.tile(np.linspace(0, 1, side, dtype=np.float32), (side, 1))  # a plane is harmonic
    positions = inner(side)
    known = plane.copy()
    known.ravel()[positions] = 0
    found = solve(laplacian(side, positions), known, np.zeros(len(positions), np.float32), 1e-6, 100)
    assert np.abs(found - plane.ravel()[positions]).max() < 1e-3


def test_pixels_of_any_shape_are_solved_as_by_a_direct_solver() -> None:
    side = 30
    rng = np.random.default_rng(4)
    positions = np.flatnonzero(rng.random(side * side) < 0.6)
    known = rng.random((side, side)).astype(np.float32)
    known.ravel()[positions] = 0
    grid = laplacian(side, positions)
    right = -grid.times(np.zeros(len(positions), np.float32), known)
    exact = np.linalg.solve(dense(grid), right)
    found = solve(grid, known, np.zeros(len(positions), np.float32), 1e-6, 100)
    assert np.allclose(found, exact, atol=1e-3)


def test_a_few_iterations_suffice() -> None:
    side = 128
    positions = inner(side)
    known = np.zeros((side, side), np.float32)
    known[0] = 1
    grid = laplacian(side, positions)
    found = solve(grid, known, np.zeros(len(positions), np.float32), 1e-4, 15)
    residual = grid.times(found, known)
    first = grid.times(np.zeros(len(positions), np.float32), known)
    assert np.linalg.norm(residual) < 1e-3 * np.linalg.norm(first)


def test_an_exact_start_is_returned() -> None:
    positions = inner(12)
    known = np.ones((12, 12), np.float32)
    start = np.ones(len(positions), np.float32)
    assert (solve(laplacian(12, positions), known, start, 1e-4, 50) == start).all()


def test_the_start_is_not_changed() -> None:
    positions = inner(12)
    start = random(len(positions))
    before = start.copy()
    solve(laplacian(12, positions), np.ones((12, 12), np.float32), start, 1e-4, 50)
    assert (start == before).all()


def test_without_iterations_the_start_is_returned() -> None:
    positions = inner(12)
    start = random(len(positions))
    assert (solve(laplacian(12, positions), np.ones((12, 12), np.float32), start, 1e-4, 0) == start).all()


def test_without_unknown_pixels_there_is_nothing_to_solve() -> None:
    grid = Grid((4, 4), NO_POSITIONS, np.empty((9, 0), np.float32), 1)
    assert solve(grid, np.ones((4, 4), np.float32), np.empty(0, np.float32), 1e-4, 10).shape == (0,)
