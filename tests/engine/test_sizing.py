"""The largest size that a photo can be worked on at."""

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
    ("most", "side"), [(10_000, 6000), (6000, 6000), (5999, 5999), (3333, 3333), (641, 641), (640, 640), (10, 640)]
)
def test_the_largest_side_that_fits_is_found(most: int, side: int) -> None:
    assert largest_side(JPEG, 640, lambda header, side: side <= most) == side


def test_a_small_photo_stays_as_it_is() -> None:
    small = Header("PNG", "RGB", (300, 200), (300, 200))
    assert [largest_side(small, 640, lambda header, side, fits=fits: fits) for fits in (True, False)] == [300, 300]  # type: ignore[misc]


def test_no_side_is_longer_than_encoders_bear() -> None:
    assert largest_side(Header("PNG", "RGB", (40_000, 10), (40_000, 10)), 640, lambda header, side: True) == 16_000


def test_a_jpeg_is_read_smaller_where_it_would_not_fit() -> None:
    fits = lambda header, side: header.size[0] * header.size[1] <= 10_000_000  # noqa: E731
    assert largest_side(JPEG, 640, fits) == 3000


@pytest.mark.parametrize("size", [(801, 601), (1600, 1200), (1000, 50)])
def test_a_draft_is_what_pillow_makes_of_it(size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size), "JPEG")
    for side in range(10, 1700, 7):
        image = Image.open(io.BytesIO(data))
        image.draft(None, fit_within(size, side, side))
        assert drafted(Header("JPEG", "RGB", size, size), side).size == image.size
