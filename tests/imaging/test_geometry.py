"""Properties of sizes and boxes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imaging.geometry import Size, cover_box, fit_within, grow_box, intersect, scale_box
from app.removal import Box, Length

sides = st.integers(1, 20_000)
sizes = st.tuples(sides, sides)
bounds = st.none() | st.integers(1, 5000)
lengths = st.builds(Length, st.floats(0, 600), st.sampled_from(["px", "%"]))
margins = st.tuples(lengths, lengths, lengths, lengths)
near = st.integers(-6, 12)
any_boxes = st.builds(Box, near, near, st.integers(0, 12), st.integers(0, 12))


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[Box, Size]:
    width, height = draw(sizes)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = Box(top, left, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))
    return box, (width, height)


def edges(box: Box) -> tuple[int, int, int, int]:
    return box.left, box.top, box.left + box.width, box.top + box.height


def along_axes(scaled: Box, box: Box, old: Size, new: Size) -> Iterator[tuple[int, ...]]:
    """Yield (start, end) of both boxes and (old, new) side, along x, then y."""
    for axis in (0, 1):
        yield *edges(scaled)[axis::2], *edges(box)[axis::2], old[axis], new[axis]


def covers(outer: Box, inner: Box) -> bool:
    a, b = edges(outer), edges(inner)
    return a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2] and a[3] >= b[3]


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((400, 300), (200, 200), (200, 150)),
        ((400, 300), (None, 150), (200, 150)),
        ((400, 300), (100, None), (100, 75)),
        ((400, 300), (None, None), (400, 300)),
        ((400, 300), (4000, 4000), (400, 300)),
        ((1, 20_000), (800, 800), (1, 800)),
    ],
)
def test_a_size_is_fitted_to_bounds(size: Size, bounds: tuple[int | None, int | None], expected: Size) -> None:
    assert fit_within(size, *bounds) == expected


@given(sizes, bounds, bounds)
def test_fitting_never_upscales_and_keeps_both_bounds(size: Size, wide: int | None, high: int | None) -> None:
    width, height = fit_within(size, wide, high)
    assert 1 <= width <= min(size[0], wide or size[0])
    assert 1 <= height <= min(size[1], high or size[1])


@given(sizes, bounds, bounds)
def test_fitting_distorts_by_less_than_a_pixel(size: Size, wide: int | None, high: int | None) -> None:
    width, height = fit_within(size, wide, high)
    scale = min(1, (wide or size[0]) / size[0], (high or size[1]) / size[1])
    assert abs(width - size[0] * scale) < 1
    assert abs(height - size[1] * scale) < 1


@given(sizes, bounds, bounds)
def test_a_fitted_size_reaches_a_bound(size: Size, wide: int | None, high: int | None) -> None:
    width, height = fit_within(size, wide, high)
    assert (width, height) == size or width == wide or height == high


@given(boxes_in_images(), margins)
def test_a_grown_box_covers_the_box_and_stays_inside(
    box_in_image: tuple[Box, Size], by: tuple[Length, Length, Length, Length]
) -> None:
    box, size = box_in_image
    grown = grow_box(box, by, size)
    assert covers(grown, box)
    assert covers(Box(0, 0, *size), grown)


def test_margins_are_clockwise_from_the_top() -> None:
    by = Length(1), Length(2), Length(3), Length(4)
    assert grow_box(Box(50, 50, 10, 20), by, (200, 200)) == Box(49, 46, 16, 24)


def test_percentages_are_of_the_box() -> None:
    by = Length(10, "%"), Length(10, "%"), Length(50, "%"), Length(50, "%")
    assert grow_box(Box(100, 100, 20, 40), by, (400, 400)) == Box(96, 90, 32, 64)


@given(boxes_in_images(), sizes)
def test_a_scaled_box_covers_the_same_part_and_stays_inside(box_in_image: tuple[Box, Size], new: Size) -> None:
    box, old = box_in_image
    scaled = scale_box(box, old, new)
    assert covers(Box(0, 0, *new), scaled)
    for start, end, old_start, old_end, before, after in along_axes(scaled, box, old, new):
        assert start * before <= old_start * after
        assert end * before >= old_end * after


@given(boxes_in_images(), sizes)
def test_a_scaled_box_is_the_smallest(box_in_image: tuple[Box, Size], new: Size) -> None:
    box, old = box_in_image
    for start, end, old_start, old_end, before, after in along_axes(scale_box(box, old, new), box, old, new):
        assert (start + 1) * before > old_start * after
        assert (end - 1) * before < old_end * after


def test_an_empty_box_stays_empty() -> None:
    assert scale_box(Box(), (100, 100), (7, 7)) == Box()


@given(sizes, sizes)
def test_a_covering_box_is_inside_and_centred(size: Size, target: Size) -> None:
    left, top, right, bottom = cover_box(size, target)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert left + right == pytest.approx(size[0])
    assert top + bottom == pytest.approx(size[1])


@given(sizes, sizes)
def test_a_covering_box_has_the_shape_of_the_target(size: Size, target: Size) -> None:
    left, top, right, bottom = cover_box(size, target)
    assert (right - left) * target[1] == pytest.approx((bottom - top) * target[0], rel=1e-6)
    assert right - left == pytest.approx(size[0]) or bottom - top == pytest.approx(size[1])


@pytest.mark.parametrize("size", [(3, 3), (119, 70)])
def test_rounding_does_not_move_a_covering_box_outside(size: Size) -> None:
    box = cover_box(size, (187, 187) if size == (3, 3) else (116, 50))
    assert min(box) >= 0
    assert box[2:] <= size


@given(any_boxes, any_boxes, near, near)
def test_a_pixel_of_both_boxes_is_in_their_intersection(a: Box, b: Box, left: int, top: int) -> None:
    pixel = Box(top, left, 1, 1)
    assert covers(intersect(a, b), pixel) == (covers(a, pixel) and covers(b, pixel))


@pytest.mark.parametrize("other", [Box(0, 10, 5, 5), Box(10, 0, 5, 5), Box(3, 3, 0, 5), Box()])
def test_separate_boxes_have_an_empty_intersection(other: Box) -> None:
    assert intersect(Box(0, 0, 10, 10), other) == Box()
