"""Encoded files: format, mode, quality, no metadata."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin
from PIL.ImageFile import ImageFile

from app.imaging.encode import MIMETYPES, encode
from tests.support.photos import opened
from tests.support.synthetic_images import disc, noise, srgb_profile

SIZE = (90, 60)
MODES = ("RGBA", "RGB", "L")
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")


def picture(mode: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return smooth colours with a disc as alpha, reduced to the mode."""
    alpha = Image.fromarray(np.asarray(disc(size) * 255, np.uint8))
    if mode == "L":
        return alpha
    image = Image.linear_gradient("L").resize(size)
    image = Image.merge("RGB", (image, image.transpose(Image.Transpose.ROTATE_180), alpha))
    if mode == "RGBA":
        image = Image.composite(image, Image.new("RGB", size), alpha.point(lambda value: 255 * (value > 0)))
        image.putalpha(alpha)
    return image


def unzipped(data: bytes) -> dict[str, Image.Image]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: opened(archive.read(name)) for name in archive.namelist()}


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.tobytes() == other.tobytes()


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, int) - np.asarray(other, int)).max())


def decoded(image: Image.Image, format: Any, quality: int = 85) -> Image.Image:
    return opened(encode(image, format, quality))


@pytest.mark.parametrize("quality", [10, 59, 60, 85, 100])
@pytest.mark.parametrize("size", [SIZE, (1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_has_the_requested_format_and_size(format: str, mode: str, size: tuple[int, int], quality: int) -> None:
    image = decoded(picture(mode, size), format, quality)
    assert (image.format, image.size) == (format, size)


@pytest.mark.parametrize(
    ("mode", "format", "expected"),
    [
        ("RGBA", "PNG", "RGBA"),
        ("RGB", "PNG", "RGB"),
        ("L", "PNG", "L"),
        ("RGBA", "JPEG", "RGB"),
        ("RGB", "JPEG", "RGB"),
        ("L", "JPEG", "L"),
        ("RGBA", "WEBP", "RGBA"),
        ("RGB", "WEBP", "RGB"),
        ("L", "WEBP", "RGB"),
        ("RGBA", "AVIF", "RGBA"),
        ("RGB", "AVIF", "RGB"),
        ("L", "AVIF", "L"),
    ],
)
def test_a_file_has_the_mode_of_its_format(mode: str, format: str, expected: str) -> None:
    assert decoded(picture(mode), format).mode == expected


def test_every_format_has_its_media_type() -> None:
    assert {MIMETYPES[format] for format in MIMETYPES if format != "ZIP"} == {
        Image.MIME[opened(encode(picture("RGB"), format, 85)).format or ""] for format in MIMETYPES if format != "ZIP"
    }


@pytest.mark.parametrize("quality", [60, 85, 90, 95, 100])
@pytest.mark.parametrize("image", [picture(mode) for mode in MODES] + [noise(SIZE, 4)])
def test_png_is_lossless(image: Image.Image, quality: int) -> None:
    assert same(decoded(image, "PNG", quality), image)


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_a_png_of_low_quality_has_a_palette(mode: str) -> None:
    image = decoded(picture(mode), "PNG", 59)
    assert image.mode == "P"
    assert largest_difference(image.convert(mode), picture(mode)) < 100


def test_a_mask_stays_exact_at_low_quality() -> None:
    assert same(decoded(picture("L"), "PNG", 10), picture("L"))


def test_a_palette_keeps_opaque_and_transparent_pixels() -> None:
    image = picture("RGBA", (300, 200))
    before, after = (np.asarray(made)[..., 3] for made in (image, decoded(image, "PNG", 50).convert("RGBA")))
    assert set(after[before == 255].tolist()) == {255}
    assert set(after[before == 0].tolist()) == {0}


@pytest.mark.parametrize("mode", MODES)
def test_jpeg_is_progressive(mode: str) -> None:
    assert decoded(picture(mode), "JPEG").info["progressive"]


@pytest.mark.parametrize("quality", [10, 85, 100])
def test_jpeg_has_subsampling_4_2_0(quality: int) -> None:
    assert JpegImagePlugin.get_sampling(as_file(decoded(picture("RGB"), "JPEG", quality))) == 2


def as_file(image: Image.Image) -> ImageFile:
    assert isinstance(image, ImageFile)
    return image


def test_transparent_pixels_are_white_in_a_jpeg() -> None:
    assert decoded(picture("RGBA"), "JPEG").getpixel((0, 0)) == pytest.approx((255, 255, 255), abs=2)


@pytest.mark.parametrize("quality", [10, 85, 100])
def test_webp_keeps_alpha(quality: int) -> None:
    alpha = decoded(picture("RGBA"), "WEBP", quality).getchannel("A")
    assert largest_difference(alpha, picture("L")) <= 16


@pytest.mark.parametrize("size", [(700, 700), (1300, 1200)])
def test_webp_of_every_method_has_the_size(size: tuple[int, int]) -> None:
    assert decoded(picture("RGBA", size), "WEBP").size == size


@pytest.mark.parametrize("format", [*FORMATS, "ZIP"])
@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_higher_quality_gives_a_larger_file(format: Any, mode: str) -> None:
    image = picture(mode, (300, 200))
    low, high = (len(encode(image, format, quality)) for quality in (40, 85))
    assert low < high


def test_a_png_encoded_for_size_is_smaller() -> None:
    image = picture("RGBA", (300, 200))
    assert len(encode(image, "PNG", 95)) < len(encode(image, "PNG", 60))


@pytest.mark.parametrize("quality", [40, 90])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("format", [*FORMATS, "ZIP"])
def test_a_file_has_no_metadata(format: Any, mode: str, quality: int) -> None:
    image = picture(mode)
    image.info = {
        "icc_profile": srgb_profile(),
        "exif": b"Exif\0\0II*\0SECRET",
        "comment": b"SECRET",
        "xmp": b"<x>SECRET</x>",
        "dpi": (300, 300),
        "Author": "SECRET",
    }
    data = encode(image, format, quality)
    found = unzipped(data).values() if format == "ZIP" else [opened(data)]
    assert b"SECRET" not in data
    assert not {"icc_profile", "exif", "comment", "xmp", "dpi", "Author"} & {key for one in found for key in one.info}


@pytest.mark.parametrize("quality", [40, 90])
@pytest.mark.parametrize(("mode", "key"), [("RGB", (255, 0, 0)), ("L", 255)])
def test_a_colour_key_is_not_copied(mode: str, key: Any, quality: int) -> None:
    image = picture(mode)
    image.info["transparency"] = key
    assert not decoded(image, "PNG", quality).has_transparency_data


@pytest.mark.parametrize(("mode", "colours"), [("RGBA", "RGB"), ("RGB", "RGB"), ("L", "L")])
@pytest.mark.parametrize("size", [SIZE, (1, 1), (1, 300)])
def test_a_zip_contains_colours_and_alpha(mode: str, colours: str, size: tuple[int, int]) -> None:
    images = unzipped(encode(picture(mode, size), "ZIP", 85))
    assert list(images) == ["color.jpg", "alpha.png"]
    assert [(image.format, image.mode, image.size) for image in images.values()] == [
        ("JPEG", colours, size),
        ("PNG", "L", size),
    ]


def test_alpha_in_a_zip_is_lossless() -> None:
    images = unzipped(encode(picture("RGBA"), "ZIP", 10))
    assert same(images["alpha.png"], picture("L"))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_alpha_in_a_zip_of_an_opaque_image_is_opaque(mode: str) -> None:
    assert unzipped(encode(picture(mode), "ZIP", 85))["alpha.png"].getextrema() == (255, 255)


def test_colours_in_a_zip_do_not_bleed_at_the_edge() -> None:
    red = Image.new("RGBA", (128, 128), (200, 30, 30, 255))
    red.paste((0, 0, 0, 0), (0, 0, 61, 128))
    assert unzipped(encode(red, "ZIP", 90))["color.jpg"].getpixel((61, 64)) == pytest.approx((200, 30, 30), abs=6)


def test_a_zip_contains_no_time() -> None:
    with zipfile.ZipFile(io.BytesIO(encode(picture("RGBA"), "ZIP", 85))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("size", "quality", "level"),
    [((1000, 1000), 95, 9), ((1001, 1000), 95, 6), ((2500, 2500), 95, 4), ((2500, 2500), 90, 4), ((1001, 1000), 90, 6)],
)
def test_the_effort_of_a_png_falls_with_its_size(size: tuple[int, int], quality: int, level: int) -> None:
    image, expected = picture("RGB", size), io.BytesIO()
    image.save(expected, "PNG", compress_level=level)
    assert encode(image, "PNG", quality) == expected.getvalue()
