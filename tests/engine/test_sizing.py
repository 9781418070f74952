"""Largest working size of a photo."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app.engine.sizing import drafted, largest_side
from app.imaging.decode import Header
from app.imaging.geometry import fit_within
from tests.support.photos import encoded

JPEG = Header("JPEG", "RGB", (6000, 4000), (6000, 4000))


@pytest.mark.parametrize(
    ("limit", "side"), [(10_000, 6000), (6000, 6000), (5999, 5999), (3333, 3333), (641, 641), (640, 640), (10, 640)]
)
def test_the_largest_side_that_fits_is_found(limit: int, side: int) -> None:
    assert largest_side(JPEG, 640, lambda header, side: side <= limit) == side


def test_a_small_photo_keeps_its_size() -> None:
    small = Header("PNG", "RGB", (300, 200), (300, 200))
    assert [largest_side(small, 640, lambda header, side, fits=fits: fits) for fits in (True, False)] == [300, 300]  # type: ignore[misc]


def test_the_side_is_limited_by_the_encoders() -> None:
    assert largest_side(Header("PNG", "RGB", (40_000, 10), (40_000, 10)), 640, lambda header, side: True) == 16_000


def test_a_jpeg_that_would_not_fit_is_read_smaller() -> None:
    fits = lambda header, side: header.size[0] * header.size[1] <= 10_000_000  # noqa: E731
    assert largest_side(JPEG, 640, fits) == 3000


@pytest.mark.parametrize("size", [(801, 601), (1600, 1200), (1000, 50)])
def test_the_size_of_a_draft_equals_pillows(size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size), "JPEG")
    for side in range(10, 1700, 7):
        image = Image.open(io.BytesIO(data))
        image.draft(None, fit_within(size, side, side))
        assert drafted(Header("JPEG", "RGB", size, size), side).size == image.size
