"""One test for each input that once caused a bug. Most were found by tests/fuzz."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import ImageCms

from app.errors import CorruptImage, TooManyPixels
from app.imaging.colour import MAX_PROFILE_BYTES
from app.imaging.decode import Photo, PixelLimits, decode
from tests.support.metadata_files import after_header, riff, riff_chunks, segment
from tests.support.photos import encoded
from tests.support.synthetic_images import chunk, corners, premultiplied, quarters, swapped_profile, tiled

PROGRESSIVE = encoded(quarters(), "JPEG", progressive=True)
LIMITS, LARGE = PixelLimits(10**6, 10**7), PixelLimits(25 * 10**6, 10**8)
JPEG, WEBP = encoded(quarters(), "JPEG"), encoded(quarters(), "WEBP")
# A camera's name with an offset outside of the block, before a valid orientation.
DAMAGED_EXIF = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(
    ">HHHLLHHLHHL", 2, 0x010F, 2, 20, 0x800000, 0x0112, 3, 1, 6, 0, 0
)


def read(data: bytes) -> Photo:
    return decode(data, 100, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        after_header(JPEG, segment(0xE1, DAMAGED_EXIF)),
        riff((b"VP8X", b"\x08" + bytes(3) + b"\x3f\0\0\x1f\0\0"), *riff_chunks(WEBP), (b"EXIF", DAMAGED_EXIF)),
    ],
    ids=["JPEG", "WEBP"],
)
def test_a_damaged_exif_block_keeps_its_orientation(data: bytes) -> None:
    assert read(data).size == (32, 64)


def test_a_jpeg_with_thousands_of_exif_blocks_is_refused() -> None:
    with pytest.raises(CorruptImage):
        read(after_header(JPEG, segment(0xE1, b"Exif\0\0" + bytes(10)) * 100_000))


def test_several_exif_blocks_are_read_as_one() -> None:
    more = segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 90
    assert read(after_header(JPEG, segment(0xE1, DAMAGED_EXIF) + more)).size == (32, 64)


def with_scans(number: int) -> bytes:
    """Return a JPEG with `number` scans, by repeating the last one."""
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    return PROGRESSIVE[:-2] + last * (number - PROGRESSIVE.count(b"\xff\xda")) + PROGRESSIVE[-2:]


def test_a_jpeg_with_too_many_scans_is_refused() -> None:
    with pytest.raises(CorruptImage):
        read(with_scans(101))


def test_a_malformed_jpeg_with_too_many_scans_is_refused() -> None:
    with pytest.raises(CorruptImage):
        read(after_header(with_scans(101), b"stray bytes"))


def test_a_jpeg_with_the_maximum_of_scans_is_read() -> None:
    assert read(with_scans(100)).size == (64, 32)


def of_size(data: bytes, side: int, frame: bytes = b"\xc2") -> bytes:
    """Return a progressive JPEG that claims to be a square of `side` px, with another kind of frame."""
    at = data.index(b"\xff\xc2")
    return data[:at] + b"\xff" + frame + data[at + 2 : at + 5] + side.to_bytes(2) * 2 + data[at + 9 :]


@pytest.mark.parametrize(("scans", "side", "frame"), [(30, 9900, b"\xc2"), (10, 9900, b"\xca"), (97, 2000, b"\xca")])
def test_a_jpeg_with_too_many_scans_for_its_size_or_coding_is_refused(scans: int, side: int, frame: bytes) -> None:
    with pytest.raises(TooManyPixels, match=rf"too many scans \({scans}\) for its {side} x {side} pixels"):
        decode(of_size(with_scans(scans), side, frame), 100, LARGE)


def test_a_large_jpeg_with_as_many_scans_as_encoders_write_is_read() -> None:
    assert decode(of_size(with_scans(20), 9900), 100, LARGE).full_size == (9900, 9900)


@pytest.mark.parametrize(
    "icc",
    [
        swapped_profile().replace(b"cprt", b"D2B0", 1),
        swapped_profile().replace(b"mluc", b"mpet", 1),
        swapped_profile() + bytes(MAX_PROFILE_BYTES),
    ],
    ids=["tag", "type", "size"],
)
def test_a_profile_that_may_be_slow_never_reaches_littlecms(icc: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(quarters(), "TIFF", icc_profile=icc)
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", lambda file: pytest.fail("it must not be read"))
    assert corners(read(data).rgb) == "RGBW"


def test_data_after_a_jpeg_is_not_counted_as_scans() -> None:
    assert read(JPEG + b"\xff\xda" * 1000).size == (64, 32)


def test_grey_with_premultiplied_alpha_is_read() -> None:
    photo = read(premultiplied())
    assert photo.alpha
    assert (photo.rgb.tobytes(), photo.alpha.tobytes()) == (b"\x7f\x7f\x7f\xff\xff\xff", b"\x80\xff")


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 8), (3, 8)), ((2, 8), (0, 16)), ((2, 16), (3, 8)), ((3, 8), (0, 8))],
)
def test_transparency_declared_for_another_mode_is_ignored(first: tuple[int, int], second: tuple[int, int]) -> None:
    """Read a PNG of two headers, each of (colour type, depth), with a palette and transparency between them."""
    headers = [chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, kind, 0, 0, 0)) for kind, depth in (first, second)]
    shared = chunk(b"PLTE", bytes(range(30))) + chunk(b"tRNS", b"\1\2\3\4\5\6")
    pixels = chunk(b"IDAT", zlib.compress(bytes(1 + 2 * second[1] // 8))) + chunk(b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + headers[0] + shared + headers[1] + pixels
    assert read(data).size == (2, 1)


def test_a_tiff_with_a_tile_over_the_limit_is_refused() -> None:
    with pytest.raises(TooManyPixels):
        read(tiled(16_384))


def test_a_tiffs_tile_may_be_larger_than_the_image() -> None:
    assert read(tiled(256)).size == (48, 32)
