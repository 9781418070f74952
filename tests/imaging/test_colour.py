"""Conversion of every mode and profile to 8-bit sRGB and alpha."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from app.imaging.decode import Photo, PixelLimits, decode
from tests.support.photos import encoded
from tests.support.synthetic_images import (
    Colour,
    corners,
    grey_ink_profile,
    linear_grey_profile,
    png,
    quarters,
    srgb_profile,
    swapped_profile,
)

LIMITS = PixelLimits(decoded=10**6, hard=10**6)


def read(data: bytes, longest_side: int = 100) -> Photo:
    return decode(data, longest_side, LIMITS)


def plain(mode: str, colour: int | float | Colour) -> Image.Image:
    return Image.new(mode, (8, 8), colour)


def palette(*colours: Colour) -> Image.Image:
    """Return an image of the first colour, with the last colour in the last pixel."""
    image = Image.new("P", (8, 8), 0)
    image.putpalette([value for colour in colours for value in colour])
    image.putpixel((7, 7), len(colours) - 1)
    return image


def pixels(photo: Photo) -> list[int]:
    """Return the pixels of a photo that must be grey."""
    red, green, blue = np.asarray(photo.rgb).reshape(-1, 3).T.tolist()
    assert red == green == blue
    return list(red)


def tiff(values: NDArray[np.generic]) -> bytes:
    return encoded(Image.fromarray(values), "TIFF")


@pytest.mark.parametrize(
    ("image", "format", "expected"),
    [
        (plain("1", 1), "PNG", (255, 255, 255)),
        (plain("1", 0), "TIFF", (0, 0, 0)),
        (plain("L", 100), "PNG", (100, 100, 100)),
        (plain("L", 100), "JPEG", (100, 100, 100)),
        (plain("L", 100), "GIF", (100, 100, 100)),
        (plain("L", 100), "BMP", (100, 100, 100)),
        (palette((10, 20, 30), (0, 0, 0)), "PNG", (10, 20, 30)),
        (palette((10, 20, 30), (0, 0, 0)), "GIF", (10, 20, 30)),
        (palette((10, 20, 30), (0, 0, 0)), "BMP", (10, 20, 30)),
        (palette((10, 20, 30), (0, 0, 0)), "TIFF", (10, 20, 30)),
        (plain("CMYK", (0, 0, 0, 0)), "TIFF", (255, 255, 255)),
        (plain("CMYK", (255, 0, 0, 0)), "TIFF", (0, 255, 255)),
        (plain("CMYK", (0, 0, 0, 0)), "JPEG", (255, 255, 255)),
        (plain("CMYK", (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (plain("CMYK", (0, 0, 0, 255)), "JPEG", (0, 0, 0)),
        (plain("RGB", (200, 40, 60)).convert("YCbCr"), "TIFF", (200, 40, 60)),
        (plain("RGB", (200, 40, 60)).convert("YCbCr"), "JPEG", (200, 40, 60)),
        (plain("LAB", (255, 128, 128)), "TIFF", (255, 255, 255)),
        (plain("LAB", (128, 128, 128)), "TIFF", (119, 119, 119)),
        (plain("LAB", (138, 209, 198)), "TIFF", (255, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(image: Image.Image, format: str, expected: Colour) -> None:
    photo = read(encoded(image, format))
    assert photo.alpha is None
    assert photo.rgb.getpixel((0, 0)) == pytest.approx(expected, abs=5)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_alpha_is_separated_from_the_colours(format: str) -> None:
    photo = read(encoded(plain("RGBA", (200, 40, 60, 120)), format))
    assert photo.rgb.mode == "RGB"
    assert photo.alpha
    assert photo.alpha.getextrema() == (120, 120)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_an_opaque_alpha_is_none(format: str) -> None:
    assert read(encoded(plain("RGBA", (200, 40, 60, 255)), format)).alpha is None


@pytest.mark.parametrize(
    ("data", "at_first", "at_last"),
    [
        (encoded(plain("LA", (90, 120)), "PNG"), 120, 120),
        (encoded(palette((9, 9, 9), (1, 2, 3)), "PNG", transparency=0), 0, 255),
        (encoded(palette((9, 9, 9), (1, 2, 3)), "PNG", transparency=bytes((40, 200))), 40, 200),
        (encoded(palette((9, 9, 9), (1, 2, 3)), "GIF", transparency=1), 255, 0),
        (encoded(plain("RGB", (9, 8, 7)), "PNG", transparency=(9, 8, 7)), 0, 0),
        (encoded(plain("L", 9), "PNG", transparency=9), 0, 0),
    ],
    ids=["grey and alpha", "palette entry", "palette alphas", "gif", "rgb key", "grey key"],
)
def test_every_kind_of_transparency_becomes_alpha(data: bytes, at_first: int, at_last: int) -> None:
    alpha = read(data).alpha
    assert alpha
    assert (alpha.getpixel((0, 0)), alpha.getpixel((7, 7))) == (at_first, at_last)


def test_a_colour_key_without_pixels_is_not_an_alpha() -> None:
    assert read(encoded(plain("RGB", (9, 8, 7)), "PNG", transparency=(0, 0, 0))).alpha is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16), [0, 64, 128, 255]),
        (np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.int32), [0, 64, 128, 255]),
        (np.array([[-5, 0, 502_000, 1_000_000]], np.int32), [0, 0, 128, 255]),
        (np.array([[0, 0.25, 0.5, 1]], np.float32), [0, 64, 128, 255]),
        (np.array([[-1, 0, 500, 1000]], np.float32), [0, 0, 128, 255]),
        (np.array([[np.nan, -np.inf, 0.5, np.inf]], np.float32), [0, 0, 128, 255]),
        (np.array([[0, 0, 0, 3e38]], np.float32), [0, 0, 0, 255]),
    ],
    ids=["16 bits", "32 bits", "more than 16", "unit floats", "large floats", "not finite", "huge floats"],
)
def test_grey_of_more_than_8_bits_is_scaled_not_clipped(values: NDArray[np.generic], expected: list[int]) -> None:
    assert pixels(read(tiff(values))) == expected


def test_16_bit_grey_of_a_png_is_scaled() -> None:
    data = encoded(Image.fromarray(np.array([[0, 0x4000, 0x8000, 0xFFFF]], np.uint16)), "PNG")
    assert pixels(read(data)) == [0, 64, 128, 255]


def test_an_image_of_16_bit_grey_is_scaled_down() -> None:
    assert pixels(read(tiff(np.full((40, 40), 0x8000, np.uint16)), 2)) == [128] * 4


def test_16_bit_rgb_of_a_png_is_scaled() -> None:
    row = b"\0" + struct.pack(">3H", 0x8000, 0x4000, 0xFFFF)
    assert read(png((1, 1), row, depth=16)).rgb.getpixel((0, 0)) == (128, 64, 255)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_profile_is_applied(format: str) -> None:
    data = encoded(quarters(), format, icc_profile=swapped_profile())
    assert corners(read(data).rgb) == "GRBW"


def test_a_sample_is_upright_and_has_the_files_own_colours() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    data = encoded(quarters(), "PNG", icc_profile=swapped_profile(), exif=exif)
    sample = decode(data, 4000, LIMITS, sample_side=40).sample
    assert sample is not None and sample.size == (40, 40)
    assert corners(sample) == "WBGR"
    assert corners(read(data).rgb) == "WBRG"


@pytest.mark.parametrize(("side", "profile"), [(0, swapped_profile()), (40, None)])
def test_there_is_no_sample_unless_requested_and_different(side: int, profile: bytes | None) -> None:
    assert decode(encoded(quarters(), icc_profile=profile), 4000, LIMITS, sample_side=side).sample is None


@pytest.mark.parametrize("longest_side", [64, 20])
def test_a_profile_is_applied_in_a_palette_and_with_alpha(longest_side: int) -> None:
    image = quarters()
    image.putalpha(77)
    for made in (quarters().quantize(4), image):
        photo = read(encoded(made, "PNG", icc_profile=swapped_profile()), longest_side)
        assert corners(photo.rgb) == "GRBW"


@pytest.mark.parametrize("values", [np.full((2, 2), 0x8000, np.uint16), np.full((2, 2), 128, np.uint8)])
@pytest.mark.parametrize("longest_side", [100, 1])
def test_a_grey_profile_is_applied(values: NDArray[np.generic], longest_side: int) -> None:
    data = encoded(Image.fromarray(values), "PNG", icc_profile=linear_grey_profile())
    assert pixels(read(data, longest_side))[0] == pytest.approx(188, abs=2)


def test_a_profile_does_not_change_alpha() -> None:
    alpha = read(encoded(plain("RGBA", (9, 9, 9, 77)), "PNG", icc_profile=swapped_profile())).alpha
    assert alpha
    assert alpha.getextrema() == (77, 77)


def test_an_srgb_profile_changes_nothing() -> None:
    image = plain("RGB", (200, 40, 60))
    assert read(encoded(image, "PNG", icc_profile=srgb_profile())).rgb.getpixel((0, 0)) == (200, 40, 60)


def test_a_profile_is_judged_by_its_content_not_by_its_name() -> None:
    data = encoded(quarters(), "PNG", icc_profile=swapped_profile(name="sRGB"))
    assert corners(read(data).rgb) == "GRBW"


@pytest.mark.parametrize("alpha", [255, 120])
@pytest.mark.parametrize("longest_side", [100, 4])
def test_a_grey_profile_is_applied_with_alpha(longest_side: int, alpha: int) -> None:
    photo = read(encoded(plain("LA", (128, alpha)), "PNG", icc_profile=linear_grey_profile()), longest_side)
    assert pixels(photo)[0] == pytest.approx(188, abs=2)
    assert (photo.alpha.getextrema() if photo.alpha else (255, 255)) == (alpha, alpha)


def test_a_profile_left_from_another_mode_is_ignored() -> None:
    grey, colour = plain("L", 90), plain("RGB", (90, 90, 90))
    assert pixels(read(encoded(grey, "PNG", icc_profile=swapped_profile())))[0] == 90
    assert pixels(read(encoded(colour, "PNG", icc_profile=linear_grey_profile())))[0] == 90


@pytest.mark.parametrize(
    "icc",
    [
        b"x",
        b"no profile at all " * 20,
        swapped_profile()[:200],
        swapped_profile()[:-128] + bytes(128),
        swapped_profile()[:132] + b"\xff" * 456,
        grey_ink_profile(),
    ],
    ids=["byte", "text", "short", "empty curves", "no table", "of another space"],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_a_broken_profile_is_ignored(format: str, icc: bytes) -> None:
    assert corners(read(encoded(quarters(), format, icc_profile=icc)).rgb) == "RGBW"


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("inks", "grey"), [((0, 0, 0, 0), 255), ((255, 0, 0, 0), 119), ((0, 0, 255, 255), 119), ((255,) * 4, 0)]
)
def test_a_cmyk_profile_is_applied(format: str, inks: Colour, grey: int) -> None:
    photo = read(encoded(plain("CMYK", inks), format, icc_profile=grey_ink_profile()))
    assert photo.rgb.getpixel((0, 0)) == pytest.approx((grey, grey, grey), abs=5)
