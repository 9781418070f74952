"""Masks in rembg's arithmetic, without a model: extreme values. The masks themselves: tests/test_equality.py."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.imaging.reference import full_range, normalized, resized_mask


def test_noise_is_scaled_to_the_full_range_too() -> None:
    faint = np.array([[0.1, 0.2], [0.15, 0.1]], np.float32)
    assert full_range(faint) == pytest.approx(np.array([[0, 1], [0.5, 0]]), abs=1e-6)


@pytest.mark.parametrize("value", [0, 0.3, 1])
def test_a_constant_output_is_an_empty_mask(value: float) -> None:
    mask = full_range(np.full((4, 4), value, np.float32))
    assert not resized_mask(mask, (7, 5)).any()


def test_a_black_image_gives_finite_input() -> None:
    values = normalized(Image.new("RGB", (5, 9)), 32, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    assert values.shape == (1, 3, 32, 32) and values.dtype == np.float32
    assert (values == -0.5).all()


def test_grey_levels_are_truncated_not_rounded() -> None:
    assert resized_mask(np.full((2, 2), 0.999, np.float32), (2, 2)).max() == 254
