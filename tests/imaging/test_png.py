"""The fast PNG encoder: valid files, lossless."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.imaging import png
from app.imaging.encode import encode
from tests.support.photos import opened
from tests.support.synthetic_images import noise

BANDS = {"L": 1, "RGB": 3, "RGBA": 4}


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, data) of each chunk; fail for a wrong checksum or data after the end."""
    assert data[:8] == png.SIGNATURE
    position = 8
    while position < len(data):
        (length,) = struct.unpack_from("!I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack_from("!I", data, position + 8 + length) == (zlib.crc32(kind + body),)
        position += length + 12
        yield kind, body


@given(
    mode=st.sampled_from(sorted(BANDS)),
    width=st.integers(1, 70),
    height=st.sampled_from([1, 2, png.STRIP - 1, png.STRIP, png.STRIP + 1, 3 * png.STRIP]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_file_is_decoded_to_the_same_pixels(mode: str, width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, BANDS[mode]), np.uint8)
    image = Image.fromarray(pixels.squeeze(axis=2) if mode == "L" else pixels, mode)
    back = opened(png.write_png(image))
    assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())


def test_a_large_file_has_several_data_chunks_and_no_metadata() -> None:
    kinds = [kind for kind, _ in chunks(png.write_png(noise((700, 500))))]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert len(kinds) > 3
    assert set(kinds[1:-1]) == {b"IDAT"}


def test_every_row_has_the_up_filter() -> None:
    data = b"".join(body for kind, body in chunks(png.write_png(noise((10, 9)))) if kind == b"IDAT")
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(9, -1)
    assert set(rows[:, 0]) == {png.UP}


@pytest.mark.parametrize(
    ("quality", "fast"), [(60, True), (85, True), (89, True), (90, False), (100, False), (59, False)]
)
def test_the_fast_encoder_is_used_for_middle_qualities(quality: int, fast: bool) -> None:
    image = noise((40, 30))
    assert (encode(image, "PNG", quality) == png.write_png(image)) is fast


def test_pillow_is_used_where_isal_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "HAVE_ISAL", False)
    image = noise((40, 30))
    data = encode(image, "PNG", 85)
    assert data != png.write_png(image)
    assert opened(data).tobytes() == image.tobytes()


def test_other_modes_are_not_supported() -> None:
    assert not png.available(Image.new("P", (4, 4)))
