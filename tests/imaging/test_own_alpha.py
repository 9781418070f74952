"""Images with an alpha of their own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from app.imaging.own_alpha import is_cut_out, is_visible, on_neutral_ground, visible_cells, without_hidden_colours
from tests.support.synthetic_images import disc

SIZE = (400, 300)


def shape(softness: float = 1.0, opacity: float = 1.0) -> Image.Image:
    """Return the alpha of a disc."""
    return Image.fromarray(np.asarray(disc(SIZE, softness) * 255 * opacity, np.uint8))


def boxes(*areas: tuple[int, int, int, int], opacity: int = 255) -> Image.Image:
    alpha = Image.new("L", SIZE)
    for area in areas:
        alpha.paste(opacity, area)
    return alpha


def rounded(radius: int) -> Image.Image:
    alpha = Image.new("L", SIZE)
    ImageDraw.Draw(alpha).rounded_rectangle((0, 0, SIZE[0] - 1, SIZE[1] - 1), radius, fill=255)
    return alpha


def glowing() -> Image.Image:
    """Return a disc in a glow."""
    glow = shape().filter(ImageFilter.GaussianBlur(15)).point([value // 2 for value in range(256)])
    return Image.fromarray(np.maximum(np.asarray(glow), np.asarray(shape())))


def large_with_a_speck() -> Image.Image:
    alpha = Image.new("L", (4000, 3000))
    alpha.putpixel((7, 7), 255)
    return alpha


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (shape(), True),
        (shape(opacity=0.4), True),
        (glowing(), True),
        (boxes((20, 20, 60, 60), (200, 100, 390, 290)), True),
        (boxes((0, 100, 400, 102)).rotate(30), True),
        (boxes((0, 0, 400, 200), (100, 200, 300, 300)), True),
        (boxes((50, 50, 350, 250)), True),
        (rounded(100), True),
        (large_with_a_speck(), True),
        (boxes((0, 0, 150, 150)).filter(ImageFilter.GaussianBlur(40)), False),
        (shape(softness=100), False),
        (boxes((0, 40, 400, 260)), False),
        (boxes((90, 0, 310, 300)), False),
        (rounded(20), False),
        (Image.new("L", SIZE, 255), False),
        (Image.new("L", SIZE, 90), False),
        (Image.new("L", (1, 1), 90), False),
    ],
    ids=[
        "disc",
        "watermark",
        "glow",
        "two parts",
        "thin line",
        "at the border",
        "tile",
        "icon",
        "speck",
        "soft corner",
        "vignette",
        "bars above and below",
        "bars left and right",
        "rounded photo",
        "opaque",
        "half-transparent",
        "pixel",
    ],
)
def test_a_subject_without_background_is_cut_out(alpha: Image.Image, expected: bool) -> None:
    assert is_cut_out(alpha) == expected


def test_soft_parts_that_stand_alone_are_cut_out() -> None:
    parts = boxes((60, 120, 140, 200), (260, 120, 340, 200)).filter(ImageFilter.GaussianBlur(18))
    assert is_cut_out(parts)
    assert not is_cut_out(boxes((60, 120, 140, 200)).filter(ImageFilter.GaussianBlur(18)))


@pytest.mark.parametrize(("value", "expected"), [(0, False), (12, False), (13, True), (255, True)])
def test_an_image_is_visible_from_an_alpha_of_13(value: int, expected: bool) -> None:
    assert is_visible(boxes((0, 0, 1, 1), opacity=value)) == expected


@pytest.mark.parametrize(
    ("colour", "ground"),
    [("black", 245), ("white", 128), ((30, 60, 20), 245), ((128, 128, 128), 245), ((240, 250, 255), 128)],
)
@pytest.mark.parametrize("hidden", ["black", "white", "red"])
def test_the_ground_contrasts_with_the_visible_part(
    hidden: str, colour: str | tuple[int, int, int], ground: int
) -> None:
    alpha = boxes((100, 100, 200, 200))
    image = Image.composite(Image.new("RGB", SIZE, colour), Image.new("RGB", SIZE, hidden), alpha)
    assert on_neutral_ground(image, alpha).getpixel((0, 0)) == (ground,) * 3
    assert on_neutral_ground(image, alpha).getpixel((150, 150)) == image.getpixel((150, 150))
    assert without_hidden_colours(image, alpha).getpixel((0, 0)) == (ground,) * 3


def test_half_transparent_colours_are_composed_for_the_model_only() -> None:
    image, alpha = Image.new("RGB", SIZE, "black"), boxes((100, 100, 200, 200), opacity=51)
    assert on_neutral_ground(image, alpha).getpixel((150, 150)) == (196, 196, 196)
    assert without_hidden_colours(image, alpha).getpixel((150, 150)) == (0, 0, 0)


def test_an_image_without_hidden_pixels_is_unchanged() -> None:
    image = Image.new("RGB", SIZE, "red")
    assert without_hidden_colours(image, Image.new("L", SIZE, 1)) is image


def test_a_cell_with_any_visible_pixel_is_visible() -> None:
    cells = visible_cells(boxes((0, 0, 1, 1), (200, 150, 400, 300)), 100)
    assert cells.shape == (100, 100)
    assert cells[0, 0] == cells[50:, 50:].min() == 1
    assert cells.sum() == 2501
