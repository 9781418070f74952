"""Bytes of every kind to an upright photo, or to the error that says what is wrong with them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin, features

from app.errors import CorruptImage, ServiceError, TooManyPixels, UnsupportedFormat
from app.imaging.decode import Photo, PixelLimits, decode
from tests.support.photos import encoded
from tests.support.synthetic_images import FORMATS, corners, noise, png, quarters

LIMITS = PixelLimits(decoded=25_000_000, hard=100_000_000)
SMALL = PixelLimits(decoded=10_000, hard=120_000)
MOVING = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
# The corners of the upright picture, as it is stored with red and green over blue and white.
TURNED = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}


def read(data: bytes, longest_side: int = 4000, limits: PixelLimits = LIMITS) -> Photo:
    return decode(data, longest_side, limits)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def animation(format: str) -> bytes:
    """Encode two frames: the quarters, then noise."""
    return encoded(quarters(), format, save_all=True, append_images=[noise((64, 32))], duration=100)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_by_its_bytes(name: str) -> None:
    photo = read(encoded(quarters(), name))
    assert (photo.format, photo.rgb.mode, photo.alpha) == (name, "RGB", None)
    assert photo.size == photo.full_size == (64, 32)
    assert corners(photo.rgb) == "RGBW"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(compression: str) -> None:
    assert corners(read(encoded(quarters(), "TIFF", compression=compression)).rgb) == "RGBW"


@pytest.mark.parametrize("name", MOVING)
def test_the_first_frame_of_an_animation_is_read(name: str) -> None:
    assert corners(read(animation(name)).rgb) == "RGBW"


def test_the_first_picture_of_a_phone_s_two_is_read() -> None:
    photo = read(encoded(quarters(), "MPO", save_all=True, append_images=[noise((64, 32))]))
    assert (photo.format, corners(photo.rgb)) == ("JPEG", "RGBW")


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("GIF", GifImagePlugin.GifImageFile),
        ("TIFF", TiffImagePlugin.TiffImageFile),
    ],
)
def test_frames_are_never_counted(name: str, plugin: type, monkeypatch: pytest.MonkeyPatch) -> None:
    data = animation(name)

    def count(self: object) -> int:
        raise AssertionError("frames were counted")

    monkeypatch.setattr(plugin, "n_frames", property(count))
    assert read(data).size == (64, 32)


@pytest.mark.parametrize("name", ["GIF", "PNG"])
def test_what_is_broken_after_the_first_frame_does_not_matter(name: str) -> None:
    assert corners(read(animation(name)[:-1000]).rgb) == "RGBW"


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%PDF-1.7", b"\xff\xd8", b"8BPS\0\x01", bytes(100)])
def test_unknown_bytes_are_an_unsupported_format(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        read(data)


@pytest.mark.parametrize("name", ["ICO", "PPM", "TGA", "ICNS", "JPEG2000"])
def test_formats_of_pillow_s_that_are_not_accepted(name: str) -> None:
    with pytest.raises(UnsupportedFormat):
        read(encoded(quarters((32, 32)), name))


def test_avif_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(quarters(), "AVIF")
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(UnsupportedFormat):
        read(data)


def test_heif_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(quarters(), "HEIF")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedFormat):
        read(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_short_is_corrupt(name: str, share: float) -> None:
    data = encoded(noise((64, 32)), name)
    with pytest.raises(CorruptImage):
        read(data[: max(12, int(len(data) * share))])


@pytest.mark.parametrize("name", FORMATS)
def test_garbage_after_the_signature_is_corrupt(name: str) -> None:
    signature = encoded(quarters(), name)[:12]
    with pytest.raises(CorruptImage):
        read(signature + b"garbage " * 500)


@pytest.mark.parametrize(("name", "as_name"), [("PNG", "JPEG"), ("JPEG", "PNG"), ("TIFF", "BMP"), ("AVIF", "HEIF")])
def test_the_signature_of_another_format_is_corrupt(name: str, as_name: str) -> None:
    with pytest.raises(CorruptImage):
        read(encoded(quarters(), as_name)[:12] + encoded(quarters(), name)[12:])


def test_a_file_is_opened_as_what_its_signature_says() -> None:
    with pytest.raises(CorruptImage):  # a Targa picture of 1 x 1, which Pillow reads, that begins like HEIC
        read(b"\0\0\x02\0ftypheic\x01\0\x01\0\x18\0" + bytes(300))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_are_corrupt(size: tuple[int, int]) -> None:
    with pytest.raises(CorruptImage):
        read(png(size))


FILES = [encoded(noise((24, 16)), name) for name in FORMATS] + [
    encoded(noise((24, 16)), name, exif=turned(6)) for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FILES), st.data())
def test_damaged_files_are_read_or_refused_but_never_a_fault(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, min(400, len(data))))
    dropped, put = draw.draw(st.integers(0, 8)), draw.draw(st.binary(max_size=8))
    try:
        assert max(read(data[:at] + put + data[at + dropped :], 100, PixelLimits(10**6, 10**7)).size) <= 100
    except ServiceError as error:
        assert error.code in {"CORRUPT_IMAGE", "TOO_MANY_PIXELS", "UNSUPPORTED_FORMAT"}


def test_too_little_memory_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        read(encoded(quarters(), "JPEG"))


# A PNG of a few bytes holds none of the pixels that its header claims: one that was decoded would be corrupt.
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_001, 10_000), (6000, 6000), (30_000_000, 4)])
def test_pixels_are_counted_before_they_are_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(TooManyPixels):
        read(png(size))


@pytest.mark.parametrize(("size", "most"), [((30_000, 30_000), "100 meg"), ((6000, 6000), "25 meg")])
def test_too_many_pixels_says_how_many_are_allowed(size: tuple[int, int], most: str) -> None:
    with pytest.raises(TooManyPixels) as caught:
        read(png(size))
    assert most in caught.value.advice


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "JPEG"])
def test_over_the_limit_is_refused(name: str) -> None:
    with pytest.raises(TooManyPixels):
        read(encoded(Image.new("RGB", (400, 300)), name), 100, SMALL)


@pytest.mark.parametrize(("longest_side", "size"), [(100, (100, 75)), (90, (90, 68)), (10, (10, 8))])
def test_a_jpeg_over_the_limit_is_scaled_on_load(longest_side: int, size: tuple[int, int]) -> None:
    photo = read(encoded(Image.new("RGB", (400, 300)), "JPEG"), longest_side, SMALL)
    assert (photo.size, photo.full_size) == (size, (400, 300))


def test_a_jpeg_over_the_limit_is_refused_where_it_is_wanted_large() -> None:
    with pytest.raises(TooManyPixels, match="400 x 300"):
        read(encoded(Image.new("RGB", (400, 300)), "JPEG"), 400, SMALL)


def test_a_jpeg_over_the_hard_limit_is_refused() -> None:
    with pytest.raises(TooManyPixels):
        read(encoded(Image.new("RGB", (401, 300)), "JPEG"), 100, SMALL)


@pytest.mark.parametrize("name", FORMATS)
def test_one_pixel_is_enough(name: str) -> None:
    assert read(encoded(Image.new("RGB", (1, 1)), name)).size == (1, 1)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_line_of_pixels(name: str) -> None:
    photo = read(encoded(Image.new("RGB", (1, 20_000)), name), 800)
    assert (photo.size, photo.full_size) == ((1, 800), (1, 20_000))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("longest_side", "size"), [(20, (20, 10)), (64, (64, 32)), (65, (64, 32))])
def test_scaled_down_to_the_longest_side_but_never_up(name: str, longest_side: int, size: tuple[int, int]) -> None:
    photo = read(encoded(quarters(), name), longest_side)
    assert (photo.size, photo.full_size) == (size, (64, 32))
    assert corners(photo.rgb) == "RGBW"


def test_alpha_is_scaled_with_the_colours() -> None:
    photo = read(encoded(noise((64, 32), channels=4), "PNG"), 20)
    assert photo.alpha
    assert (photo.alpha.size, photo.alpha.mode) == ((20, 10), "L")


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_orientation_is_applied(name: str, orientation: int) -> None:
    photo = read(encoded(quarters(), name, exif=turned(orientation).tobytes()))
    assert corners(photo.rgb) == TURNED[orientation]
    assert photo.size == photo.full_size == ((64, 32) if orientation < 5 else (32, 64))


@pytest.mark.parametrize("orientation", TURNED)
def test_orientation_of_a_jpeg_that_is_scaled_on_load(orientation: int) -> None:
    photo = read(encoded(quarters((640, 320)), "JPEG", exif=turned(orientation)), 64)
    assert corners(photo.rgb) == TURNED[orientation]
    assert photo.full_size == ((640, 320) if orientation < 5 else (320, 640))


def test_alpha_is_turned_with_the_colours() -> None:
    image = quarters()
    image.putalpha(image.getchannel("R"))
    photo = read(encoded(image, "PNG", exif=turned(6)))
    assert photo.alpha
    assert photo.alpha.convert("RGB").tobytes() == photo.rgb.getchannel("R").convert("RGB").tobytes()


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_orientations_that_do_not_exist_are_none(orientation: int) -> None:
    assert corners(read(encoded(quarters(), "JPEG", exif=turned(orientation))).rgb) == "RGBW"


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage and more of it",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x02\0\0\0\x09\xff\xff\xff\xff" * 9,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x026\0\0\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_is_ignored(name: str, exif: bytes) -> None:
    assert corners(read(encoded(quarters(), name, exif=exif)).rgb) == "RGBW"


def decode_well() -> None:
    read(encoded(quarters(), "JPEG"))


def decode_corrupt() -> None:
    with pytest.raises(CorruptImage):
        read(encoded(quarters(), "PNG")[:50])


def decode_too_many() -> None:
    with pytest.raises(TooManyPixels):
        read(png((30_000, 30_000)))


@pytest.mark.parametrize("act", [decode_well, decode_corrupt, decode_too_many])
def test_pillow_s_globals_are_as_before(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_345_678)
    before = list(warnings.filters)
    act()
    assert (Image.MAX_IMAGE_PIXELS, warnings.filters) == (12_345_678, before)


def test_large_text_in_a_png_is_no_way_to_fill_memory() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 10_000_000, zip=True)
    with pytest.raises(CorruptImage):
        read(encoded(quarters(), "PNG", pnginfo=info))


@pytest.mark.parametrize(
    ("format", "width", "least", "expected"),
    [
        ("JPEG", 1000, 485, 500),
        ("JPEG", 1000, 510, 510),
        ("JPEG", 960, 485, 510),
        ("JPEG", 400, 485, 400),
        ("PNG", 1000, 485, 510),
    ],
)
def test_a_jpeg_may_come_out_a_bit_smaller_where_that_is_quicker(
    format: str, width: int, least: int, expected: int
) -> None:
    data = encoded(Image.new("RGB", (width, width // 2)), format)
    assert decode(data, 510, LIMITS, min_side=least).size[0] == expected
