"""Specks and pinholes of a mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.imaging.specks import clean

Plane = NDArray[np.float32]
SIDE = 320


def mask_of(*boxes: tuple[int, int, int, int, float]) -> Plane:
    """Return a mask with boxes (top, left, height, width, probability)."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    for top, left, height, width, probability in boxes:
        mask[top : top + height, left : left + width] = probability
    return mask


SUBJECT = (100, 100, 100, 100, 1.0)


@pytest.mark.parametrize(
    "speck",
    [
        (10, 10, 4, 4, 1.0),  # small and far
        (150, 210, 3, 3, 0.3),  # tiny, faint, not even far
        (100, 260, 100, 50, 0.6),  # half as large, but nowhere certain
        (10, 10, 6, 6, 1.0),  # 0.4 % of the subject, far
        (0, 318, 2, 2, 0.2),
    ],
)
def test_specks_are_removed(speck: tuple[int, int, int, int, float]) -> None:
    assert np.array_equal(clean(mask_of(SUBJECT, speck)), mask_of(SUBJECT))


@pytest.mark.parametrize(
    "other",
    [
        (100, 205, 15, 15, 1.0),  # small and near
        (100, 203, 3, 3, 0.3),  # tiny and very near, as the end of a strand of hair
        (10, 10, 20, 20, 1.0),  # 4 % of the subject: a second one, at any distance
        (10, 10, 10, 10, 1.0),  # 1 % and certain, as a ball
        (220, 20, 60, 280, 0.9),  # larger than the subject
    ],
)
def test_near_parts_and_other_subjects_stay(other: tuple[int, int, int, int, float]) -> None:
    mask = mask_of(SUBJECT, other)
    assert np.array_equal(clean(mask), mask)


def test_a_scrap_with_few_certain_cells_is_a_speck() -> None:
    mask = mask_of(SUBJECT, (10, 10, 40, 40, 0.4), (10, 10, 10, 20, 0.9))
    assert np.array_equal(clean(mask), mask_of(SUBJECT))


def test_the_invisible_remains_of_a_speck_are_removed() -> None:
    mask = mask_of(SUBJECT, (10, 10, 8, 8, 0.04), (12, 12, 4, 4, 0.4))
    assert clean(mask)[:90].max() == 0


@pytest.mark.parametrize(("side", "depth"), [(1, 0.0 + 0.2), (5, 0.3), (7, 0.49)])
def test_pinholes_are_filled(side: int, depth: float) -> None:
    assert np.array_equal(clean(mask_of(SUBJECT, (140, 140, side, side, depth))), mask_of(SUBJECT))


@pytest.mark.parametrize(
    "hole",
    [
        (140, 140, 5, 5, 0.0),  # a certain hole, as between fingers
        (140, 140, 30, 30, 0.3),  # a large one
        (190, 140, 20, 5, 0.3),  # a notch at the border
    ],
)
def test_holes_stay(hole: tuple[int, int, int, int, float]) -> None:
    mask = mask_of(SUBJECT, hole)
    assert np.array_equal(clean(mask), mask)


def test_a_hole_at_the_edge_of_the_grid_stays() -> None:
    mask = mask_of((0, 0, SIDE, SIDE, 1.0), (0, 100, 4, 4, 0.3))
    assert np.array_equal(clean(mask), mask)


@pytest.mark.parametrize("side", [1, 2, 320, 1024])
@pytest.mark.parametrize("value", [0.0, 0.04, 0.3, 1.0])
def test_a_uniform_mask_is_unchanged(side: int, value: float) -> None:
    mask = np.full((side, side), value, np.float32)
    assert np.array_equal(clean(mask), mask)


@pytest.mark.parametrize("side", [64, 320, 1024])
def test_noise_is_a_mask_afterwards(side: int) -> None:
    noise = np.random.default_rng(1).random((side, side)).astype(np.float32)
    cleaned = clean(noise)
    assert (cleaned.shape, cleaned.dtype) == (noise.shape, np.dtype(np.float32))
    assert 0 <= cleaned.min() <= cleaned.max() <= 1


def test_the_given_mask_is_not_changed() -> None:
    mask = mask_of(SUBJECT, (10, 10, 4, 4, 1.0), (140, 140, 5, 5, 0.3))
    before = mask.copy()
    clean(mask)
    assert np.array_equal(mask, before)
