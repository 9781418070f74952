"""Placement of a cut-out on its canvas."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.imaging.canvas import Layout
from app.imaging.placing import is_opaque, place
from app.removal import Box
from tests.support.synthetic_images import corners, noise, quarters

# The cut-out shows this part of the photo.
REGION = Box(10, 20, 64, 32)


def cutout(size: tuple[int, int] = (64, 32)) -> Image.Image:
    return quarters(size).convert("RGBA")


def layout(size: tuple[int, int], source: Box, target: Box) -> Layout:
    return Layout(size, source, target, target)


def test_a_cutout_that_fills_the_canvas_is_returned_unchanged() -> None:
    image = cutout()
    placed = place(image, REGION, layout((64, 32), REGION, Box(0, 0, 64, 32)))
    assert (placed.size, placed.tobytes()) == (image.size, image.tobytes())


def test_the_canvas_is_transparent_around_the_cutout() -> None:
    placed = place(cutout(), REGION, layout((100, 60), REGION, Box(5, 7, 64, 32)))
    assert (placed.mode, placed.size) == ("RGBA", (100, 60))
    assert placed.getchannel("A").getbbox() == (7, 5, 71, 37)
    assert corners(placed.crop((7, 5, 71, 37)).convert("RGB")) == "RGBW"
    assert placed.getpixel((0, 0)) == (0, 0, 0, 0)


def test_a_part_of_the_region_is_cropped() -> None:
    right_half = Box(10, 52, 32, 32)
    placed = place(cutout(), REGION, layout((32, 32), right_half, Box(0, 0, 32, 32)))
    assert corners(placed.convert("RGB")) == "GGWW"


@pytest.mark.parametrize("size", [(32, 16), (64, 32), (128, 64), (97, 51)])
def test_a_cutout_of_any_scale_is_scaled_to_its_target(size: tuple[int, int]) -> None:
    placed = place(cutout(size), REGION, layout((90, 50), REGION, Box(2, 3, 80, 40)))
    assert placed.getchannel("A").getbbox() == (3, 2, 83, 42)
    assert corners(placed.crop((3, 2, 83, 42)).convert("RGB")) == "RGBW"


@pytest.mark.parametrize("width", range(1, 60, 7))
def test_rounding_does_not_move_the_part_outside(width: int) -> None:
    source = Box(10, 20 + 64 - width, width, 32)
    placed = place(cutout((187, 93)), REGION, layout((50, 50), source, Box(0, 0, 50, 50)))
    assert placed.size == (50, 50)


def test_colours_under_alpha_0_are_cleared_after_scaling() -> None:
    image = noise((64, 32), channels=4)
    alpha = noise((64, 32), channels=1, seed=2).point([0] * 200 + [255] * 56)
    scattered = Image.composite(image, Image.new("RGBA", (64, 32)), alpha)
    scattered.putalpha(alpha)
    pixels = np.asarray(place(scattered, REGION, layout((40, 20), REGION, Box(0, 0, 40, 20))))
    assert pixels[..., :3][pixels[..., 3] == 0].max(initial=0) == 0


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGB", (3, 3)), True),
        (Image.new("L", (3, 3)), True),
        (Image.new("RGBA", (3, 3), (0, 0, 0, 255)), True),
        (Image.new("RGBA", (3, 3), (0, 0, 0, 254)), False),
        (Image.new("RGBA", (3, 3)), False),
    ],
)
def test_an_image_without_transparent_pixels_is_opaque(image: Image.Image, expected: bool) -> None:
    assert is_opaque(image) is expected
