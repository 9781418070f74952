"""Worked examples of layouts on a canvas: sizes and boxes, computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.errors import RoiEmpty, RoiExceedsBounds
from app.imaging.canvas import lay_out, region_of
from app.imaging.geometry import Size, fit_pixels
from app.removal import Box, Canvas, Length, RemovalOptions

MP = 1_000_000
NOTHING = Box()
# A subject of 400 x 800 in a photo of 2000 x 1000: top 100, left 300.
FRAME, SUBJECT = (2000, 1000), Box(100, 300, 400, 800)


def px(*values: float) -> tuple[Length, ...]:
    return tuple(Length(value) for value in values)


def percent(*values: float) -> tuple[Length, ...]:
    return tuple(Length(value, "%") for value in values)


def options(canvas: Canvas, **more: object) -> RemovalOptions:
    return replace(RemovalOptions("lite", 2048, canvas=canvas), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "max_pixels", "fitted"),
    [
        ((100, 50), MP, (100, 50)),  # never scaled up
        ((5000, 3200), 250_000, (625, 400)),
        ((4000, 3000), 250_000, (577, 433)),
        ((3000, 4000), 250_000, (433, 577)),
        ((6000, 4000), 1_500_000, (1500, 1000)),
        ((4000, 4000), 4 * MP, (2000, 2000)),
        ((6250, 4000), 10 * MP, (3952, 2529)),
        ((6250, 4000), 25 * MP, (6250, 4000)),
        ((500, 500), 250_000, (500, 500)),
        ((501, 500), 250_000, (500, 499)),
        ((1_000_000, 1), 250_000, (250_000, 1)),
        ((1, 1_000_000), 250_000, (1, 250_000)),
    ],
)
def test_a_size_is_fitted_to_a_number_of_pixels(size: Size, max_pixels: int, fitted: Size) -> None:
    assert fit_pixels(size, max_pixels) == fitted
    assert fitted[0] * fitted[1] <= max_pixels


@pytest.mark.parametrize(
    ("roi", "region"),
    [
        (None, Box(0, 0, 2000, 1000)),
        (percent(0, 0, 100, 100), Box(0, 0, 2000, 1000)),
        (px(100, 50, 300, 250), Box(50, 100, 200, 200)),
        (percent(10, 20, 50, 60), Box(200, 200, 800, 400)),
        ((*px(0), *percent(50), *px(2000), *percent(100)), Box(500, 0, 2000, 500)),
        (px(1999, 999, 2000, 1000), Box(999, 1999, 1, 1)),
    ],
)
def test_a_region_is_measured_in_px_or_percent(roi: tuple[Length, ...] | None, region: Box) -> None:
    assert region_of(roi, FRAME) == region  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("roi", "error"),
    [
        (px(0, 0, 2001, 1000), RoiExceedsBounds),
        (px(0, 0, 2000, 1001), RoiExceedsBounds),
        (percent(0, 0, 100.1, 100), RoiExceedsBounds),
        (px(2500, 0, 100, 100), RoiExceedsBounds),
        (px(100, 0, 100, 100), RoiEmpty),
        (px(200, 0, 100, 100), RoiEmpty),
        (px(0, 300, 100, 200), RoiEmpty),
        (percent(50, 0, 50.01, 100), RoiEmpty),  # a fifth of a pixel
    ],
)
def test_an_invalid_region_is_refused(roi: tuple[Length, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        region_of(roi, FRAME)  # type: ignore[arg-type]


MARGIN = px(100, 40, 200, 200)
# (canvas, more options, subject, size of the answer, box of the subject in it)
EXAMPLES = [
    # Unchanged, and within 0.5 megapixels: half of each side.
    (Canvas(25 * MP), {}, SUBJECT, (2000, 1000), Box(100, 300, 400, 800)),
    (Canvas(500_000), {}, SUBJECT, (1000, 500), Box(50, 150, 200, 400)),
    (Canvas(500_000), {}, NOTHING, (1000, 500), NOTHING),
    # Cropped to the subject, and within 80,000 px of it: half of each side.
    (Canvas(25 * MP), {"crop": True}, SUBJECT, (400, 800), Box(0, 0, 400, 800)),
    (Canvas(80_000), {"crop": True}, SUBJECT, (200, 400), Box(0, 0, 200, 400)),
    (Canvas(25 * MP), {"crop": True}, NOTHING, (2000, 1000), NOTHING),
    # Margins: px of the photo, percentages of the subject; 800 + 100 + 200 px exceed the photo.
    (Canvas(25 * MP), {"crop": True, "crop_margin": px(30, 30, 30, 30)}, SUBJECT, (460, 860), Box(30, 30, 400, 800)),
    (
        Canvas(25 * MP),
        {"crop": True, "crop_margin": (*px(100), *percent(10), *px(200), *percent(50))},
        SUBJECT,
        (640, 1100),
        Box(100, 200, 400, 800),
    ),
    (Canvas(176_000), {"crop": True, "crop_margin": MARGIN}, SUBJECT, (320, 550), Box(50, 100, 200, 400)),
    # Scaled: the side that first reaches its share of the canvas decides. 50 % of 1000 is 500 high, so 250 wide.
    (Canvas(25 * MP, scale=0.5, position=(0.5, 0.5)), {}, SUBJECT, (2000, 1000), Box(250, 875, 250, 500)),
    (Canvas(500_000, scale=0.5, position=(0.5, 0.5)), {}, SUBJECT, (1000, 500), Box(125, 438, 125, 250)),
    (Canvas(25 * MP, scale=1.0, position=(0.5, 0.5)), {}, SUBJECT, (2000, 1000), Box(0, 750, 500, 1000)),
    (Canvas(25 * MP, scale=0.1, position=(0.0, 1.0)), {}, SUBJECT, (2000, 1000), Box(900, 0, 50, 100)),
    # A wide subject: 80 % of 2000 is 1600 wide, so 400 high.
    (Canvas(25 * MP, scale=0.8, position=(0.5, 0.5)), {}, Box(0, 0, 800, 200), (2000, 1000), Box(300, 200, 1600, 400)),
    # Scaled in place: about its own centre (500, 500), and moved inside the canvas if necessary.
    (Canvas(25 * MP, scale=0.5), {}, SUBJECT, (2000, 1000), Box(250, 375, 250, 500)),
    (Canvas(25 * MP, scale=1.0), {}, Box(0, 0, 100, 100), (2000, 1000), Box(0, 0, 1000, 1000)),
    # Moved: 0 % is left and top, 100 % is right and bottom.
    (Canvas(25 * MP, position=(0.5, 0.5)), {}, SUBJECT, (2000, 1000), Box(100, 800, 400, 800)),
    (Canvas(25 * MP, position=(0.0, 0.0)), {}, SUBJECT, (2000, 1000), Box(0, 0, 400, 800)),
    (Canvas(25 * MP, position=(1.0, 1.0)), {}, SUBJECT, (2000, 1000), Box(200, 1600, 400, 800)),
    (Canvas(500_000, position=(0.25, 1.0)), {}, SUBJECT, (1000, 500), Box(100, 200, 200, 400)),
    (Canvas(25 * MP, position=(1.0, 1.0)), {}, NOTHING, (2000, 1000), NOTHING),
    # Cropped first, then scaled in the rest: 50 % of 400 x 800.
    (
        Canvas(25 * MP, scale=0.5, position=(0.5, 0.5)),
        {"crop": True},
        SUBJECT,
        (400, 800),
        Box(200, 100, 200, 400),
    ),
    (
        Canvas(25 * MP, position=(0.0, 0.0)),
        {"crop": True, "crop_margin": px(10, 10, 10, 10)},
        SUBJECT,
        (420, 820),
        Box(0, 0, 400, 800),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("canvas", "more", "subject", "size", "box"), EXAMPLES)
def test_a_layout_is_as_computed_by_hand(
    canvas: Canvas, more: dict[str, object], subject: Box, size: Size, box: Box
) -> None:
    region = Box(0, 0, *FRAME)
    layout = lay_out(FRAME, region, subject, options(canvas, **more), max_pixels=canvas.max_pixels)
    assert (layout.size, layout.subject) == (size, box)


def on(size: Size, **more: object) -> Canvas:
    return replace(Canvas(25 * MP, size=size), **more)  # type: ignore[arg-type]


MIDDLE = (0.5, 0.5)
FIXED: list[tuple[Canvas, dict[str, object], Box, Size, Box]] = [
    # amazon: 85 % of the longer fitting side, centred; scaled up by 2.125
    (on((2000, 2000), scale=0.85, position=MIDDLE), {}, SUBJECT, (2000, 2000), Box(150, 575, 850, 1700)),
    (on((1000, 2000), scale=0.5, position=(0.0, 1.0)), {}, SUBJECT, (1000, 2000), Box(1000, 0, 500, 1000)),
    # The whole photo fits, centred or placed; 1000 x 500 in it.
    (on((1000, 1000)), {}, SUBJECT, (1000, 1000), Box(300, 150, 200, 400)),
    (on((1000, 1000), position=(0.0, 1.0)), {}, SUBJECT, (1000, 1000), Box(550, 150, 200, 400)),
    (on((1000, 1000), scale=0.5, position=MIDDLE), {}, NOTHING, (1000, 1000), NOTHING),
    # The crop fits: 400 x 800, with its margin 440 x 880.
    (on((1000, 1000)), {"crop": True}, SUBJECT, (1000, 1000), Box(0, 250, 500, 1000)),
    (on((880, 880)), {"crop": True, "crop_margin": percent(5, 5, 5, 5)}, SUBJECT, (880, 880), Box(40, 240, 400, 800)),
    # Bounds scale the canvas down.
    (on((2000, 2000), scale=0.8, position=MIDDLE), {"max_width": 1000}, SUBJECT, (1000, 1000), Box(100, 300, 400, 800)),
]


@pytest.mark.parametrize(("canvas", "more", "subject", "size", "box"), FIXED)
def test_a_layout_of_a_fixed_size_is_as_computed_by_hand(
    canvas: Canvas, more: dict[str, object], subject: Box, size: Size, box: Box
) -> None:
    layout = lay_out(FRAME, Box(0, 0, *FRAME), subject, options(canvas, **more), max_pixels=25 * MP, max_scale=0.1)
    assert (layout.size, layout.subject) == (size, box)


def test_bounds_limit_an_answer_in_the_photos_size() -> None:
    canvas = Canvas(25 * MP, scale=0.5, position=MIDDLE)
    layout = lay_out(FRAME, Box(0, 0, *FRAME), SUBJECT, options(canvas, max_width=1000), max_pixels=25 * MP)
    assert (layout.size, layout.subject) == ((1000, 500), Box(125, 438, 125, 250))


def test_a_region_keeps_its_place() -> None:
    region = Box(100, 200, 600, 800)
    layout = lay_out(FRAME, region, SUBJECT, options(Canvas(500_000)), max_pixels=500_000)
    assert (layout.size, layout.source, layout.target) == ((1000, 500), region, Box(50, 100, 300, 400))


def test_a_margin_shows_only_the_region() -> None:
    region, margin = Box(80, 290, 1000, 900), px(50, 50, 50, 50)
    layout = lay_out(
        FRAME, region, SUBJECT, options(Canvas(25 * MP), crop=True, crop_margin=margin), max_pixels=25 * MP
    )
    assert (layout.size, layout.source, layout.target) == ((500, 900), Box(80, 290, 460, 870), Box(30, 40, 460, 870))


@pytest.mark.parametrize(("max_scale", "size"), [(1.0, (2000, 1000)), (0.5, (1000, 500)), (0.3, (600, 300))])
def test_an_answer_is_not_larger_than_the_processed_photo(max_scale: float, size: Size) -> None:
    region = Box(0, 0, *FRAME)
    layout = lay_out(FRAME, region, NOTHING, options(Canvas(25 * MP)), max_pixels=25 * MP, max_scale=max_scale)
    assert layout.size == size
