"""Decoding of all formats to an upright photo, or to a clear error."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin, features

from app.errors import CorruptImage, ServiceError, TooManyPixels, UnsupportedFormat
from app.imaging.decode import Photo, PixelLimits, decode
from tests.support.photos import encoded, photo
from tests.support.synthetic_images import FORMATS, corners, noise, png, quarters

LIMITS = PixelLimits(decoded=25_000_000, hard=100_000_000)
SMALL = PixelLimits(decoded=10_000, hard=120_000)
ANIMATED = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
# Corners of the upright image, if it is stored as red and green over blue and white.
CORNERS = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}


def read(data: bytes, longest_side: int = 4000, limits: PixelLimits = LIMITS) -> Photo:
    return decode(data, longest_side, limits)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def animation(format: str) -> bytes:
    """Encode two frames: the quarters, then noise."""
    return encoded(quarters(), format, save_all=True, append_images=[noise((64, 32))], duration=100)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_detected_by_content(name: str) -> None:
    photo = read(encoded(quarters(), name))
    assert (photo.format, photo.rgb.mode, photo.alpha) == (name, "RGB", None)
    assert photo.size == photo.full_size == (64, 32)
    assert corners(photo.rgb) == "RGBW"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_every_compression_of_tiff_is_read(compression: str) -> None:
    assert corners(read(encoded(quarters(), "TIFF", compression=compression)).rgb) == "RGBW"


@pytest.mark.parametrize("name", ANIMATED)
def test_the_first_frame_of_an_animation_is_read(name: str) -> None:
    assert corners(read(animation(name)).rgb) == "RGBW"


def test_the_first_picture_of_a_multi_picture_jpeg_is_read() -> None:
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
def test_damage_after_the_first_frame_is_ignored(name: str) -> None:
    assert corners(read(animation(name)[:-1000]).rgb) == "RGBW"


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%PDF-1.7", b"\xff\xd8", b"8BPS\0\x01", bytes(100)])
def test_unknown_bytes_are_an_unsupported_format(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        read(data)


@pytest.mark.parametrize("name", ["ICO", "PPM", "TGA", "ICNS", "JPEG2000"])
def test_other_formats_of_pillow_are_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedFormat):
        read(encoded(quarters((32, 32)), name))


def test_avif_without_its_decoder_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(quarters(), "AVIF")
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(UnsupportedFormat):
        read(data)


def test_heif_without_its_decoder_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(quarters(), "HEIF")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedFormat):
        read(data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_is_corrupt(name: str, share: float) -> None:
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


def test_a_file_is_opened_by_its_signature_only() -> None:
    with pytest.raises(CorruptImage):  # a Targa image of 1 x 1, which Pillow can read, with a signature of HEIC
        read(b"\0\0\x02\0ftypheic\x01\0\x01\0\x18\0" + bytes(300))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_corrupt(size: tuple[int, int]) -> None:
    with pytest.raises(CorruptImage):
        read(png(size))


FILES = [encoded(noise((24, 16)), name) for name in FORMATS] + [
    encoded(noise((24, 16)), name, exif=exif_of(6)) for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FILES), st.data())
def test_a_damaged_file_is_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, min(400, len(data))))
    dropped, put = draw.draw(st.integers(0, 8)), draw.draw(st.binary(max_size=8))
    try:
        assert max(read(data[:at] + put + data[at + dropped :], 100, PixelLimits(10**6, 10**7)).size) <= 100
    except ServiceError as error:
        assert error.code in {"CORRUPT_IMAGE", "TOO_MANY_PIXELS", "UNSUPPORTED_FORMAT"}


def test_a_lack_of_memory_is_not_a_corrupt_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        read(encoded(quarters(), "JPEG"))


# A PNG without the pixels declared in its header: decoding it would give CorruptImage.
@pytest.mark.parametrize("size", [(30_000, 30_000), (10_001, 10_000), (6000, 6000), (30_000_000, 4)])
def test_pixels_are_counted_before_they_are_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(TooManyPixels):
        read(png(size))


@pytest.mark.parametrize(("size", "maximum"), [((30_000, 30_000), "100 meg"), ((6000, 6000), "25 meg")])
def test_the_error_names_the_maximum_of_pixels(size: tuple[int, int], maximum: str) -> None:
    with pytest.raises(TooManyPixels) as caught:
        read(png(size))
    assert maximum in caught.value.advice


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "JPEG"])
def test_an_image_over_the_limit_is_refused(name: str) -> None:
    with pytest.raises(TooManyPixels):
        read(encoded(Image.new("RGB", (400, 300)), name), 100, SMALL)


@pytest.mark.parametrize(("longest_side", "size"), [(100, (100, 75)), (90, (90, 68)), (10, (10, 8))])
def test_a_jpeg_over_the_limit_is_scaled_on_load(longest_side: int, size: tuple[int, int]) -> None:
    photo = read(encoded(Image.new("RGB", (400, 300)), "JPEG"), longest_side, SMALL)
    assert (photo.size, photo.full_size) == (size, (400, 300))


def test_a_jpeg_over_the_limit_is_refused_if_it_is_needed_large() -> None:
    with pytest.raises(TooManyPixels, match="400 x 300"):
        read(encoded(Image.new("RGB", (400, 300)), "JPEG"), 400, SMALL)


def test_a_jpeg_over_the_hard_limit_is_refused() -> None:
    with pytest.raises(TooManyPixels):
        read(encoded(Image.new("RGB", (401, 300)), "JPEG"), 100, SMALL)


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_of_one_pixel_is_read(name: str) -> None:
    assert read(encoded(Image.new("RGB", (1, 1)), name)).size == (1, 1)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "BMP"])
def test_an_image_one_pixel_wide_is_read(name: str) -> None:
    photo = read(encoded(Image.new("RGB", (1, 20_000)), name), 800)
    assert (photo.size, photo.full_size) == ((1, 800), (1, 20_000))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("longest_side", "size"), [(20, (20, 10)), (64, (64, 32)), (65, (64, 32))])
def test_an_image_is_scaled_down_to_the_longest_side_but_never_up(
    name: str, longest_side: int, size: tuple[int, int]
) -> None:
    photo = read(encoded(quarters(), name), longest_side)
    assert (photo.size, photo.full_size) == (size, (64, 32))
    assert corners(photo.rgb) == "RGBW"


def test_alpha_is_scaled_with_the_colours() -> None:
    photo = read(encoded(noise((64, 32), channels=4), "PNG"), 20)
    assert photo.alpha
    assert (photo.alpha.size, photo.alpha.mode) == ((20, 10), "L")


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_orientation_is_applied(name: str, orientation: int) -> None:
    photo = read(encoded(quarters(), name, exif=exif_of(orientation).tobytes()))
    assert corners(photo.rgb) == CORNERS[orientation]
    assert photo.size == photo.full_size == ((64, 32) if orientation < 5 else (32, 64))


@pytest.mark.parametrize("orientation", CORNERS)
def test_orientation_is_applied_to_a_jpeg_scaled_on_load(orientation: int) -> None:
    photo = read(encoded(quarters((640, 320)), "JPEG", exif=exif_of(orientation)), 64)
    assert corners(photo.rgb) == CORNERS[orientation]
    assert photo.full_size == ((640, 320) if orientation < 5 else (320, 640))


def test_alpha_is_rotated_with_the_colours() -> None:
    image = quarters()
    image.putalpha(image.getchannel("R"))
    photo = read(encoded(image, "PNG", exif=exif_of(6)))
    assert photo.alpha
    assert photo.alpha.convert("RGB").tobytes() == photo.rgb.getchannel("R").convert("RGB").tobytes()


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_invalid_orientation_is_ignored(orientation: int) -> None:
    assert corners(read(encoded(quarters(), "JPEG", exif=exif_of(orientation))).rgb) == "RGBW"


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


def decode_valid() -> None:
    read(encoded(quarters(), "JPEG"))


def decode_corrupt() -> None:
    with pytest.raises(CorruptImage):
        read(encoded(quarters(), "PNG")[:50])


def decode_too_many() -> None:
    with pytest.raises(TooManyPixels):
        read(png((30_000, 30_000)))


@pytest.mark.parametrize("act", [decode_valid, decode_corrupt, decode_too_many])
def test_pillows_globals_are_restored(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_345_678)
    before = list(warnings.filters)
    act()
    assert (Image.MAX_IMAGE_PIXELS, warnings.filters) == (12_345_678, before)


def test_large_text_in_a_png_is_refused() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 10_000_000, zip=True)
    with pytest.raises(CorruptImage):
        read(encoded(quarters(), "PNG", pnginfo=info))


@pytest.mark.parametrize(
    ("format", "width", "min_side", "expected"),
    [
        ("JPEG", 1000, 485, 500),
        ("JPEG", 1000, 510, 510),
        ("JPEG", 960, 485, 510),
        ("JPEG", 400, 485, 400),
        ("PNG", 1000, 485, 510),
    ],
)
def test_a_jpeg_may_be_decoded_slightly_smaller_if_that_is_faster(
    format: str, width: int, min_side: int, expected: int
) -> None:
    data = encoded(Image.new("RGB", (width, width // 2)), format)
    assert decode(data, 510, LIMITS, min_side=min_side).size[0] == expected


VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "subsampled": {"subsampling": "4:2:0"},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("longest_side", [1000, 200])
def test_a_jpeg_without_its_end_marker_is_read(longest_side: int, options: dict[str, Any]) -> None:
    data = encoded(photo("cat"), "JPEG", **options)
    assert read(data[:-2], longest_side).rgb.tobytes() == read(data, longest_side).rgb.tobytes()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(VARIANTS)), st.integers(3, 2000))
def test_a_jpeg_that_lacks_pixels_is_corrupt(variant: str, missing: int) -> None:
    data = encoded(photo("coffee").resize((120, 80)), "JPEG", **VARIANTS[variant])
    try:
        short = read(data[:-missing])
    except ServiceError as error:
        assert error.code == "CORRUPT_IMAGE"
    else:
        assert short.rgb.tobytes() == read(data).rgb.tobytes()


@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
def test_a_jpeg_that_ends_with_filler_is_corrupt(filler: bytes) -> None:
    data = encoded(photo("cat"), "JPEG")
    with pytest.raises(CorruptImage):
        read(data[:5000].ljust(len(data), filler))


def test_a_jpeg_that_cannot_be_read_is_unsupported() -> None:
    data = encoded(photo("cat"), "JPEG")
    at = data.index(b"\xff\xc0") + 4
    with pytest.raises(UnsupportedFormat, match="This kind of JPEG is not supported: 12-bit samples"):
        read(data[:at] + b"\x0c" + data[at + 1 :])
