"""PNGs with faults that leave their pixels intact."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image

from app.errors import CorruptImage
from app.imaging.decode import PixelLimits, decode
from app.imaging.png_chunks import code_points, mended
from tests.support.photos import encoded
from tests.support.synthetic_images import chunk, corners, png, quarters

LIMITS = PixelLimits(decoded=10**6, hard=10**6)
PNG = encoded(quarters(), "PNG")
HEADER = 33


def inserted(new: bytes, data: bytes = PNG) -> bytes:
    return data[:HEADER] + new + data[HEADER:]


def damaged(data: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return data[:-1] + bytes((data[-1] ^ 1,))


CHUNKS = [
    damaged(chunk(b"tEXt", b"Comment\0text")),
    damaged(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"text"))),
    damaged(chunk(b"pHYs", bytes(9))),
    damaged(chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"profile"))),
    damaged(chunk(b"tRNS", bytes(6))),
    damaged(chunk(b"zzZz", b"private")),
    damaged(chunk(b"eXIf", b"II*\0")),
    chunk(b"gAMA", b"1"),
    chunk(b"cHRM", b"1"),
    chunk(b"sRGB", b""),
    chunk(b"pHYs", b"1"),
]


@pytest.mark.parametrize("new", CHUNKS, ids=lambda new: new[4:8].decode())
@pytest.mark.parametrize("before", [True, False])
def test_a_damaged_chunk_that_pixels_do_not_need_is_ignored(before: bool, new: bytes) -> None:
    data = inserted(new) if before else PNG[:-12] + new + PNG[-12:]
    photo = decode(data, 100, LIMITS)
    assert (corners(photo.rgb), photo.alpha) == ("RGBW", None)
    assert mended(data) == PNG


def test_a_damaged_header_is_corrupt() -> None:
    with pytest.raises(CorruptImage):
        decode(PNG[:8] + damaged(PNG[8:HEADER]) + PNG[HEADER:], 100, LIMITS)


def test_an_intact_file_is_not_copied() -> None:
    data = inserted(chunk(b"tEXt", b"Comment\0text") + chunk(b"tRNS", bytes(6)))
    assert mended(data) is data


@pytest.mark.parametrize("data", [b"", PNG[:20], PNG[:-30], b"\x89PNG\r\n\x1a\n" + b"\xff" * 30])
def test_incomplete_files_are_left_alone(data: bytes) -> None:
    assert mended(data) is data
    assert code_points(data) is None


@pytest.mark.parametrize(
    ("depth", "colour_type", "row", "key"),
    [
        (16, 2, struct.pack(">6H", 0x8000, 0x4000, 0xFFFF, 1, 2, 3), struct.pack(">3H", 0x8000, 0x4000, 0xFFFF)),
        (16, 0, struct.pack(">2H", 0x8000, 0x8001), struct.pack(">H", 0x8000)),
        (8, 2, bytes((9, 8, 7, 1, 2, 3)), struct.pack(">3H", 9, 8, 7)),
        (8, 0, bytes((9, 8)), struct.pack(">H", 9)),
        (4, 0, bytes((0x95,)), struct.pack(">H", 9)),
        (2, 0, bytes((0x90,)), struct.pack(">H", 2)),
        (1, 0, bytes((0x80,)), struct.pack(">H", 1)),
    ],
    ids=["16-bit RGB", "16-bit grey", "8-bit RGB", "8-bit grey", "4-bit grey", "2-bit grey", "1-bit grey"],
)
def test_a_transparent_colour_of_any_depth_becomes_alpha(depth: int, colour_type: int, row: bytes, key: bytes) -> None:
    data = inserted(chunk(b"tRNS", key), png((2, 1), b"\0" + row, depth, colour_type))
    alpha = decode(data, 100, LIMITS).alpha
    assert alpha
    assert alpha.tobytes() == b"\0\xff"


def test_a_transparent_colour_of_the_wrong_length_is_ignored() -> None:
    data = inserted(chunk(b"tRNS", b"\0\0"), png((1, 1), b"\0" + bytes(6), depth=16))
    assert decode(data, 100, LIMITS).alpha is None


def test_16_bit_grey_is_scaled_down_with_its_transparent_colour() -> None:
    row = b"\0" + struct.pack(">8H", *(0x8000,) * 4, *(0x4000,) * 4)
    data = inserted(chunk(b"tRNS", struct.pack(">H", 0x8000)), png((8, 8), row * 8, depth=16, colour_type=0))
    photo = decode(data, 2, LIMITS)
    assert photo.alpha
    assert photo.alpha.getpixel((0, 0)) < 32 < 224 < photo.alpha.getpixel((1, 0))  # type: ignore[operator]
    assert photo.rgb.getpixel((1, 1)) == pytest.approx((64, 64, 64), abs=1)


def test_palette_transparency_is_kept() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette((1, 2, 3, 4, 5, 6))
    data = encoded(image, "PNG", transparency=bytes((0, 255)))
    assert mended(data) is data
