"""Resampling to the model's square gives Pillow's result for every shape of photo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.imaging.lanczos import shrink_to_square
from tests.support.photos import photo


def resized_by_pillow(image: Image.Image, side: int) -> NDArray[np.float32]:
    small = image.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(small, np.float32).transpose(2, 0, 1)


def assert_equals_pillow(image: Image.Image, side: int) -> None:
    ours = shrink_to_square(image, side)
    assert ours.dtype == np.float32 and ours.shape == (3, side, side)
    difference = abs(ours - resized_by_pillow(image, side))
    assert difference.max() <= 1  # between two grey levels, the last bit decides
    assert (difference > 0).mean() < 0.002


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
@pytest.mark.parametrize("side", [320, 1024])
def test_a_photo_equals_pillows_result(name: str, side: int) -> None:
    assert_equals_pillow(photo(name), side)


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (600, 700), (500, 900), (100, 330)])
def test_tall_and_wide_photos_equal_pillows_result(size: tuple[int, int]) -> None:
    assert_equals_pillow(photo("cat").resize(size), 320)


@pytest.mark.parametrize("size", [(2048, 1365), (683, 2048), (4001, 333), (1923, 1921), (3000, 60), (60, 3000)])
def test_large_photos_equal_pillows_result_with_a_reducing_gap(size: tuple[int, int]) -> None:
    assert_equals_pillow(photo("cat").resize(size), 320)


def test_a_photo_of_the_target_size_is_unchanged() -> None:
    image = photo("coffee").resize((320, 320))
    assert np.array_equal(shrink_to_square(image, 320), np.asarray(image).transpose(2, 0, 1))


@settings(deadline=None, max_examples=100)
@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_noise_of_any_shape_equals_pillows_result(width: int, height: int, side: int, seed: int) -> None:
    # Noise shows the order of the two steps, and whether a large image is averaged.
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    difference = abs(shrink_to_square(image, side) - resized_by_pillow(image, side))
    assert difference.max() <= 2  # each of the two steps may be off by one
    assert difference.sum() <= max(6, 0.02 * difference.size)  # in a small image one pixel weighs much
