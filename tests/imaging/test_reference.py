"""Masks in rembg's arithmetic, without a model: extreme values. The masks themselves: tests/test_equality.py."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from app.imaging.reference import full_range, normalized, resized, resized_mask
from tests.support.synthetic_images import noise


# SHA-256 of the pixels from Pillow 12.3, of which Pillow 13's differ for the first and third size.
@pytest.mark.parametrize(
    ("size", "target", "digest"),
    [
        ((267, 400), (320, 320), "9fa101d967fc2330"),
        ((400, 267), (320, 320), "5d5c5e3108775c04"),
        ((320, 320), (400, 267), "ead066b4cd80a8ec"),
        ((320, 320), (267, 400), "f13cd63a33ad8e2b"),
    ],
)
def test_passes_are_in_the_order_of_pillow_12(size: tuple[int, int], target: tuple[int, int], digest: str) -> None:
    assert hashlib.sha256(resized(noise(size), target).tobytes()).hexdigest()[:16] == digest


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
