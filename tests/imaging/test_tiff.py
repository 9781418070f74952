"""Kinds of TIFF that can't be read rightly are refused with the reason."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from app.errors import CorruptImage, UnsupportedFormat
from app.imaging.decode import PixelLimits, decode, measure
from app.imaging.tiff import refusal
from tests.support.photos import encoded
from tests.support.tiff_files import RGB_16_PLANAR, Values, tiff

LIMITS = PixelLimits(decoded=10**6, hard=10**6)

REFUSED: dict[str, tuple[dict[int, Values], str, str]] = {
    "16-bit grey planes": ({258: (16, 16), 277: 2, 284: 2, 338: 2}, "<", "16-bit grey with alpha"),
    "16-bit white is 0": ({258: 16, 262: 0}, "<", "16-bit unsigned samples with photometric interpretation 0"),
    "uint32": ({258: 32}, "<", "32-bit unsigned"),
    "int16": ({258: 16, 339: 2}, "<", "16-bit signed"),
    "int8": ({258: 8, 339: 2}, "<", "8-bit signed"),
    "12 bits": ({258: 12}, "<", "12-bit unsigned"),
    "64-bit floats": ({258: 64, 339: 3}, "<", "64-bit floating-point"),
    "16-bit floats": ({258: 16, 339: 3}, "<", "16-bit floating-point"),
    "float white is 0": ({258: 32, 339: 3, 262: 0}, "<", "32-bit floating-point"),
    "float RGB": ({258: (32,) * 3, 339: (3,) * 3, 262: 2, 277: 3}, "<", "32-bit floating-point"),
    "undefined": ({339: 4}, "<", "8-bit undefined"),
    "different bits": ({258: (5, 6, 5), 262: 2, 277: 3}, "<", "-bit unsigned"),
    "ICC Lab": ({258: (8,) * 3, 262: 9, 277: 3}, "<", "photometric interpretation 9"),
    "grey planes": ({258: (8, 8), 277: 2, 284: 2, 338: 2}, "<", "8-bit samples in separate planes"),
    "16-bit grey and alpha": ({258: (16, 16), 277: 2, 338: 2}, "<", "16-bit grey with alpha"),
    "inverted grey and alpha": ({258: (8, 8), 262: 0, 277: 2, 338: 2}, "<", "8-bit grey with alpha"),
    "compressed int32": ({258: 32, 339: 2, 259: 8}, ">", "compressed 32-bit samples in big-endian order"),
    "reversed bits": ({258: 16, 266: 2}, "<", "16-bit samples with reversed bits"),
    "subsampled": ({258: (8,) * 3, 262: 6, 277: 3, 530: (2, 2)}, "<", "subsampled colours without compression"),
    "JPEG 2000": ({259: 34712}, "<", "compression 34712"),
    "preview": ({254: 1}, "<", "it begins with a preview of another image"),
    "old preview": ({255: 2}, ">", "it begins with a preview of another image"),
    "mosaic": ({262: 32803}, "<", "it is a camera's raw photo"),
    "linear raw": ({258: (16,) * 3, 262: 34892, 277: 3}, "<", "it is a camera's raw photo"),
    "DNG": ({254: 1, 50706: (1, 4)}, "<", "it is a camera's raw photo"),
}


@pytest.mark.parametrize(("tags", "order", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_kind_that_is_misread_is_refused_with_the_reason(tags: dict[int, Values], order: str, reason: str) -> None:
    data = tiff(tags, bytes(64), order)
    for read in (lambda: decode(data, 100, LIMITS), lambda: measure(data, LIMITS)):
        with pytest.raises(UnsupportedFormat, match="This kind of TIFF") as caught:
            read()
        assert reason in caught.value.message
        assert caught.value.advice == "Save the image as JPEG or 8-bit PNG."


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_preview_with_a_raw_photo_behind_it_is_refused(order: str) -> None:
    assert refusal(tiff({}, order=order, subdirectory=32803)) == "it is a camera's raw photo"
    assert refusal(tiff({}, order=order, subdirectory=2)) == ""


def test_a_cr2_is_refused() -> None:
    data = tiff({258: (8,) * 3, 262: 6, 259: 6, 277: 3}, b"CR\x02\0" + bytes(60))
    assert refusal(data) == "it is a camera's raw photo"


READ: dict[str, tuple[dict[int, Values], bytes, str, int]] = {
    "grey": ({}, b"\x80", "<", 128),
    "white is 0": ({262: 0}, b"\x7f", "<", 128),
    "2 bits": ({258: 2}, b"\x80", "<", 170),
    "16 bits": ({258: 16}, b"\0\x80", "<", 128),
    "16 bits, big-endian": ({258: 16}, b"\x80\0", ">", 128),
    "16-bit RGB": ({258: (16,) * 3, 262: 2, 277: 3}, b"\0\x80" * 3, "<", 128),
    "int32": ({258: 32, 339: 2}, b"\0\x80\0\0", "<", 128),
    "float": ({258: 32, 339: 3}, b"\0\0\0\x3f", "<", 128),
    "deflate": ({259: 8}, zlib.compress(b"\x80"), "<", 128),
    "reversed bits": ({266: 2}, b"\x01", "<", 128),
}


@pytest.mark.parametrize(("tags", "pixels", "order", "grey"), READ.values(), ids=READ.keys())
def test_other_kinds_are_read(tags: dict[int, Values], pixels: bytes, order: str, grey: int) -> None:
    assert decode(tiff(tags, pixels, order), 100, LIMITS).rgb.getpixel((0, 0)) == (grey,) * 3


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_planes_are_read(order: str) -> None:
    pixels = struct.pack(f"{order}6H", 0x8000, 0x4000, 0xFFFF, 0, 0, 0x8000)
    rgb = decode(tiff({**RGB_16_PLANAR, 256: 2}, pixels, order), 100, LIMITS).rgb
    assert [rgb.getpixel((0, 0)), rgb.getpixel((1, 0))] == [(128, 255, 0), (64, 0, 128)]
    assert not TiffImagePlugin.READ_LIBTIFF


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_mode_that_pillow_writes_is_read(mode: str, big: bool) -> None:
    assert refusal(encoded(Image.new(mode, (8, 8)), "TIFF", big_tiff=big)) == ""


@pytest.mark.parametrize("big", [False, True])
def test_a_big_tiff_is_refused_alike(big: bool) -> None:
    data = encoded(Image.fromarray(np.zeros((8, 8), np.uint16)), "TIFF", big_tiff=big, tiffinfo={254: 1})
    assert refusal(data) == "it begins with a preview of another image"


@given(st.binary(max_size=60), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]))
def test_any_bytes_are_refused_or_left_to_the_decoder(data: bytes, signature: bytes) -> None:
    assert isinstance(refusal(signature + data), str)


@pytest.mark.parametrize(
    "data", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"II+\0\x08\0\0\0" + b"\xff" * 8, b"II*\0" + bytes(9)]
)
def test_a_damaged_header_is_left_to_the_decoder(data: bytes) -> None:
    assert refusal(data) == ""
    with pytest.raises(CorruptImage):
        decode(data, 100, LIMITS)
