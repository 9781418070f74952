"""Metrics of cut-outs: known values, and the order that they give to worse results."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality_metrics import colour_error, gradient_error, iou, mean_error, sad
from tests.support.synthetic_images import disc

Plane = NDArray[np.float32]
TRUTH = disc((80, 60), softness=4)


def shifted(by: int) -> Plane:
    return np.asarray(np.roll(TRUTH, by, axis=1), np.float32)


def half() -> Plane:
    """Return a mask whose left half is the subject."""
    mask = np.zeros((10, 10), np.float32)
    mask[:, :5] = 1
    return mask


def test_the_truth_has_no_error() -> None:
    assert iou(TRUTH, TRUTH) == 1
    assert mean_error(TRUTH, TRUTH) == sad(TRUTH, TRUTH) == gradient_error(TRUTH, TRUTH) == 0


def test_known_values() -> None:
    everything = np.ones((10, 10), np.float32)
    assert iou(everything, half()) == 0.5
    assert mean_error(everything, half()) == 0.5
    assert sad(everything, half()) == pytest.approx(0.05)


def test_two_empty_masks_are_equal() -> None:
    assert iou(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)) == 1


@pytest.mark.parametrize("metric", [mean_error, sad, gradient_error])
def test_a_larger_shift_is_a_larger_error(metric: Callable[[Plane, Plane], float]) -> None:
    errors = [metric(shifted(by), TRUTH) for by in (0, 1, 3, 6)]
    assert errors == sorted(errors) and errors[0] < errors[1]


def test_the_gradient_error_finds_a_blurred_edge() -> None:
    soft = [np.asarray(cv2.GaussianBlur(TRUTH, (0, 0), sigma), np.float32) for sigma in (1, 2, 4)]
    errors = [gradient_error(alpha, TRUTH) for alpha in soft]
    assert errors == sorted(errors)


def test_the_gradient_of_a_ramp_is_that_of_the_formula() -> None:
    ramp = np.asarray(np.tile(np.arange(40, dtype=np.float32) / 40, (40, 1)), np.float32)
    x = np.arange(-4, 5)
    smooth = np.exp(-(x**2) / (2 * 1.4**2))
    expected = (x * (x * smooth)).sum() / np.linalg.norm(x * smooth) * smooth.sum() / np.linalg.norm(smooth) / 40
    # Away from the borders, where pixels are repeated.
    flat = np.zeros_like(ramp)
    inner = gradient_error(ramp, flat) * 1000 / ramp.size
    assert inner == pytest.approx(expected**2, rel=0.15)


def test_the_colour_error_counts_fractional_pixels_by_alpha() -> None:
    truth = np.array([[1, 0.5, 0.25, 0]], np.float32)
    true_colours = np.full((1, 4, 3), 100, np.float32)
    colours = true_colours + np.array([[[50], [10], [40], [90]]], np.float32)
    assert colour_error(colours, truth, true_colours, truth) == pytest.approx((0.5 * 10 + 0.25 * 40) / 0.75)
    missing = np.array([[1, 0.5, 0, 0]], np.float32)
    assert colour_error(colours, missing, true_colours, truth) == pytest.approx(10)
    assert colour_error(colours, half()[:1, :4], true_colours, np.ones((1, 4), np.float32)) == 0
