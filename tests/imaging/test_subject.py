"""Confidence and box of the subject."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.imaging.subject import SUBJECT, confidence_of, portrait_box, raw_box, stretch, visible_box
from app.removal import Box

GRID = (100, 100)


def cells_with(box: Box, probability: float = 1.0, elsewhere: float = 0.0) -> NDArray[np.float32]:
    cells = np.full(GRID, elsewhere, np.float32)
    cells[box.top : box.top + box.height, box.left : box.left + box.width] = probability
    return cells


def alpha_of(*parts: tuple[Box, int], size: tuple[int, int] = (400, 200)) -> NDArray[np.uint8]:
    alpha = np.zeros((size[1], size[0]), np.uint8)
    for box, value in parts:
        alpha[box.top : box.top + box.height, box.left : box.left + box.width] = value
    return alpha


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        (cells_with(Box(10, 10, 30, 30)), 1.0),
        (cells_with(Box(10, 10, 30, 30), 0.8, 0.4), 0.8),
        (cells_with(Box(10, 10, 30, 30), 0.5), 0.5),
        (cells_with(Box(10, 10, 30, 30), 0.3), 0.3),
        (cells_with(Box(0, 0, 5, 2), 0.9), 0.9),
        (cells_with(Box(0, 0, 2, 1), 1.0), 0.2),
        (np.zeros(GRID, np.float32), 0.0),
        (np.ones(GRID, np.float32), 1.0),
        (np.full(GRID, 0.25, np.float32), 0.25),
        (np.ones((1, 1), np.float32), 1.0),
        (np.zeros((1, 1), np.float32), 0.0),
    ],
)
def test_confidence_is_the_mean_of_the_subjects_cells(probabilities: NDArray[np.float32], expected: float) -> None:
    assert confidence_of(probabilities) == pytest.approx(expected)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.49, 0.5, 0.7, 1.0])
def test_confidence_under_one_half_means_no_subject(probability: float) -> None:
    assert (confidence_of(cells_with(Box(10, 10, 30, 30), probability)) < SUBJECT) == (probability < 0.5)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        (cells_with(Box(10, 20, 30, 40)), Box(10, 20, 30, 40)),
        (cells_with(Box(10, 20, 30, 40), 0.5, 0.49), Box(10, 20, 30, 40)),
        (cells_with(Box(99, 0, 1, 1)), Box(99, 0, 1, 1)),
        (np.ones(GRID, np.float32), Box(0, 0, 100, 100)),
        (np.full(GRID, 0.49, np.float32), Box()),
        (np.zeros((1, 1), np.float32), Box()),
    ],
)
def test_the_raw_box_is_that_of_the_subjects_cells(probabilities: NDArray[np.float32], expected: Box) -> None:
    assert raw_box(probabilities) == expected


# A cell has 4 px along x, 2 px along y.
@pytest.mark.parametrize(
    ("parts", "raw", "expected"),
    [
        ([(Box(20, 40, 120, 60), 255)], Box(10, 10, 30, 30), Box(20, 40, 120, 60)),
        ([(Box(17, 33, 130, 66), 255)], Box(10, 10, 30, 30), Box(17, 33, 130, 66)),
        ([(Box(20, 40, 120, 60), 13)], Box(10, 10, 30, 30), Box(20, 40, 120, 60)),
        ([(Box(20, 40, 120, 60), 12)], Box(10, 10, 30, 30), Box()),
        ([(Box(20, 40, 120, 60), 255), (Box(180, 380, 4, 4), 60)], Box(10, 10, 30, 30), Box(20, 40, 120, 60)),
        ([(Box(0, 0, 400, 200), 255)], Box(0, 0, 100, 100), Box(0, 0, 400, 200)),
        ([(Box(0, 0, 400, 200), 255)], Box(), Box()),
        ([], Box(10, 10, 30, 30), Box()),
    ],
    ids=["exact", "softer", "faint", "invisible", "speck", "all", "no subject", "nothing"],
)
def test_the_visible_box_is_near_the_subjects_cells(parts: list[tuple[Box, int]], raw: Box, expected: Box) -> None:
    assert visible_box(alpha_of(*parts), raw, GRID) == expected


def test_the_visible_box_is_found_in_an_image_smaller_than_the_grid() -> None:
    alpha = alpha_of((Box(1, 2, 3, 2), 255), size=(10, 5))
    assert visible_box(alpha, Box(20, 20, 30, 40), GRID) == Box(1, 2, 3, 2)


def test_stretched_probabilities_range_from_0_to_1() -> None:
    stretched = stretch(cells_with(Box(10, 10, 30, 30), 0.8, 0.2))
    assert stretched.dtype == np.float32
    assert (stretched.min(), stretched.max()) == (0, 1)


def test_stretching_keeps_proportions() -> None:
    assert stretch(np.array([[0.2, 0.4, 0.6]], np.float32)) == pytest.approx(np.array([[0, 0.5, 1]]), abs=1e-6)


@pytest.mark.parametrize(
    "probabilities",
    [
        cells_with(Box(10, 10, 30, 30), 0.49, 0.1),
        np.zeros(GRID, np.float32),
        np.ones(GRID, np.float32),
        np.full(GRID, 0.3, np.float32),
        cells_with(Box(10, 10, 30, 30)),
    ],
    ids=["noise", "zeros", "ones", "constant", "stretched already"],
)
def test_stretching_keeps_noise_constants_and_full_range(probabilities: NDArray[np.float32]) -> None:
    assert (stretch(probabilities) == probabilities).all()


# A head of 20 x 30 px on a body of 60 px.
PERSON = alpha_of((Box(10, 120, 20, 30), 255), (Box(40, 100, 60, 140), 255)) > 0
WHOLE = Box(10, 100, 60, 170)


@pytest.mark.parametrize(
    ("subject", "aspect", "expected"),
    [
        (WHOLE, 1.0, Box(10, 100, 60, 60)),  # standing: as high as wide
        (WHOLE, 0.5, Box(10, 120, 20, 30)),  # cells twice as high as wide
        (WHOLE, 2.0, WHOLE),
        (Box(10, 100, 60, 108), 1.0, Box(10, 100, 60, 108)),  # at most 1.8 times as high
        (Box(), 1.0, Box()),
    ],
)
def test_a_portrait_is_the_upper_part_of_a_standing_person(subject: Box, aspect: float, expected: Box) -> None:
    assert portrait_box(PERSON, subject, aspect) == expected
