"""Backdrops: gradients, and the photo's own background blurred."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.imaging.backdrop import blurred, gradient
from app.imaging.cutout import Cutout, finish
from app.removal import Box, Gradient, RemovalOptions
from tests.support.synthetic_images import noise

BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)


@pytest.mark.parametrize(
    ("angle", "dark", "light"),
    [
        (180, (50, 0), (50, 199)),
        (0, (50, 199), (50, 0)),
        (90, (0, 100), (99, 100)),
        (270, (99, 100), (0, 100)),
        (135, (0, 0), (99, 199)),
        (360, (50, 199), (50, 0)),
    ],
)
def test_a_gradient_runs_in_its_direction(angle: int, dark: tuple[int, int], light: tuple[int, int]) -> None:
    image = gradient((100, 200), Gradient(BLACK, WHITE, angle)).convert("L")
    assert image.getpixel(dark) <= 3  # type: ignore[operator]
    assert image.getpixel(light) >= 252  # type: ignore[operator]
    assert image.getpixel((50, 100)) == pytest.approx(128, abs=3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_a_gradient_has_any_size(size: tuple[int, int]) -> None:
    assert gradient(size, Gradient(BLACK, WHITE, 45)).size == size


def test_a_gradient_may_be_transparent() -> None:
    image = gradient((10, 100), Gradient(WHITE, (255, 255, 255, 0)))
    assert image.mode == "RGBA"
    assert image.getpixel((5, 99))[3] <= 2  # type: ignore[index]


@pytest.mark.parametrize(("format", "mode"), [("PNG", "RGBA"), ("JPEG", "RGB")])
def test_a_transparent_gradient_is_white_in_a_jpeg(format: str, mode: str) -> None:
    backdrop = Gradient((0, 0, 0, 0), (0, 0, 0, 0))
    options = RemovalOptions("lite", 2048, format=format, backdrop=backdrop)  # type: ignore[arg-type]
    image = finish(Cutout(Image.new("RGBA", (10, 10)), Box()), options).image
    assert (image.mode, image.convert("RGBA").getpixel((0, 0))[3]) == (mode, 255 if mode == "RGB" else 0)  # type: ignore[index]


@pytest.mark.parametrize("strength", [1, 20, 100])
def test_the_subject_does_not_shine_into_a_blurred_background(strength: int) -> None:
    photo, alpha = Image.new("RGB", (600, 400), "blue"), Image.new("L", (600, 400))
    photo.paste("red", (200, 100, 400, 300))
    alpha.paste(255, (195, 95, 405, 305))
    image = blurred(photo, alpha, strength).resize(photo.size)
    assert image.getpixel((190, 200)) == pytest.approx((0, 0, 255), abs=6)


@pytest.mark.parametrize("strength", [1, 20, 100])
@pytest.mark.parametrize("box", [(200, 100, 400, 300), (0, 0, 560, 400), (100, 40, 600, 400)])
def test_the_place_of_the_subject_has_the_colours_of_the_background(
    strength: int, box: tuple[int, int, int, int]
) -> None:
    photo, alpha = Image.new("RGB", (600, 400), "blue"), Image.new("L", (600, 400))
    photo.paste("red", box)
    alpha.paste(255, box)
    image = np.asarray(blurred(photo, alpha, strength))
    assert image[..., 0].max() <= 6
    assert image[..., 2].min() >= 249


def test_a_photo_without_background_keeps_its_colours() -> None:
    photo = Image.new("RGB", (600, 400), (10, 20, 30))
    image = blurred(photo, Image.new("L", photo.size, 255), 20)
    assert image.getextrema() == ((10, 10), (20, 20), (30, 30))


def test_a_stronger_blur_is_smoother() -> None:
    photo, alpha = noise((640, 480)), Image.new("L", (640, 480))
    contrasts = [np.asarray(blurred(photo, alpha, strength)).std() for strength in (1, 5, 50)]
    assert contrasts == sorted(contrasts, reverse=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_thin_photos_are_blurred(size: tuple[int, int]) -> None:
    assert blurred(Image.new("RGB", size, "red"), Image.new("L", size, 255), 100).getpixel((0, 0)) == (255, 0, 0)
