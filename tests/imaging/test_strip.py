"""Metadata taken out of files whose pixels stay as they are."""

from __future__ import annotations

import io
import struct
import sys
from subprocess import run

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from app.imaging.decode import PixelLimits, decode
from app.imaging.strip import strip_metadata
from app.imaging.strip.exif import only_orientation, orientation
from tests.conftest import opened
from tests.imaging.laden import (
    HIDDEN,
    ICC,
    SIZE,
    XMP,
    after_header,
    before,
    chunk,
    every_file,
    exif,
    riff,
    riff_chunks,
    segment,
)
from tests.imaging.pictures import encoded, noise, quarters

FILES = every_file()
UPRIGHT = {1, 2, 3, 4, 5, 6, 7, 8}
# Those that were made without a profile, or whose format has none.
WITHOUT_PROFILE = {
    "jpeg grey",
    "jpeg inks",
    "jpeg two pictures",
    "jpeg comment between scans",
    "png late",
    "webp simple",
}
WITHOUT_EXIF = {"jpeg comment between scans", "webp simple"}


def stripped(data: bytes) -> bytes:
    done = strip_metadata(data)
    assert done is not None
    return done


def frames(data: bytes) -> list[tuple[object, ...]]:
    """Return mode, palette, pixels and time of every frame."""
    found: list[tuple[object, ...]] = []
    for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data))):
        pixels = frame.convert("RGBA").tobytes()
        found.append((frame.mode, frame.tobytes(), pixels, frame.info.get("duration"), frame.info.get("transparency")))
    return found


@pytest.mark.parametrize("name", FILES)
def test_nothing_of_what_was_hidden_is_left(name: str) -> None:
    before, after = FILES[name], stripped(FILES[name])
    assert HIDDEN in before or XMP in before or exif() in before
    assert b"Elisabeth" not in after
    assert not {"xmp", "comment", "photoshop", "XML:com.adobe.xmp", "Author", "mp"} & set(opened(after).info)


@pytest.mark.parametrize("name", [name for name in FILES if name != "jpeg two pictures"])
def test_every_frame_is_the_same(name: str) -> None:
    assert frames(stripped(FILES[name])) == frames(FILES[name])


def test_of_a_phone_s_two_pictures_the_first_stays() -> None:
    data = FILES["jpeg two pictures"]
    assert frames(stripped(data)) == frames(data)[:1]


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_metadata_stays(name: str) -> None:
    before, after = opened(FILES[name]).info, opened(stripped(FILES[name])).info
    for key in ("icc_profile", "dpi", "gamma", "loop", "background", "adobe_transform", "jfif_version", "progressive"):
        assert after.get(key) == before.get(key)
    expected = not name.startswith(("gif", "bmp")) and name not in WITHOUT_PROFILE
    assert (after.get("icc_profile") == ICC) is expected


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(("gif", "bmp"))])
def test_of_exif_the_orientation_stays(name: str) -> None:
    image = opened(stripped(FILES[name]))
    assert dict(image.getexif()) == ({} if name in WITHOUT_EXIF else {0x0112: 6})
    assert len(image.info.get("exif", b"")) <= 32


@pytest.mark.parametrize("name", FILES)
def test_the_service_sees_the_same_photo(name: str) -> None:
    limits = PixelLimits(10**6, 10**6)
    before, after = decode(FILES[name], 100, limits), decode(stripped(FILES[name]), 100, limits)
    assert (after.full_size, after.rgb.tobytes()) == (before.full_size, before.rgb.tobytes())
    assert (after.alpha and after.alpha.tobytes()) == (before.alpha and before.alpha.tobytes())


@pytest.mark.parametrize("name", FILES)
def test_a_second_time_changes_nothing(name: str) -> None:
    once = stripped(FILES[name])
    assert stripped(once) == once
    assert len(once) < len(FILES[name])


@pytest.mark.parametrize("value", [*UPRIGHT, 0, 9, None])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_orientations(format: str, value: int | None) -> None:
    image = opened(stripped(encoded(quarters(), format, exif=exif(value))))
    assert dict(image.getexif()) == ({0x0112: value} if value in UPRIGHT - {1} else {})


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_file_without_metadata_stays_as_it_is(format: str) -> None:
    data = encoded(noise(SIZE), format)
    assert strip_metadata(data) == data


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "HEIF"])
def test_formats_that_would_have_to_be_decoded(format: str) -> None:
    assert strip_metadata(encoded(noise(SIZE), format)) is None


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_refused_or_whole(name: str) -> None:
    whole = stripped(FILES[name])
    for size in range(len(FILES[name])):
        assert strip_metadata(FILES[name][:size]) in (None, whole)


TIFF_HEADER = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}


def directory(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    packed = b"".join(struct.pack(f"{order}HHL", *each[:3]) + each[3].ljust(4, b"\0") for each in entries)
    return TIFF_HEADER[order] + struct.pack(f"{order}H", len(entries)) + packed


@pytest.mark.parametrize(
    ("block", "value"),
    [
        (directory("<", (0x0112, 3, 1, b"\x08")), 8),
        (directory(">", (0x0112, 3, 1, b"\0\x08")), 8),
        (directory("<", (0x0100, 4, 1, b"\x07"), (0x0112, 3, 1, b"\x05")), 5),
        (directory(">", (0x0112, 4, 1, b"\0\0\0\x03")), 3),
        (directory(">", (0x0112, 1, 1, b"\x03")), 3),
        (directory(">", (0x0112, 2, 2, b"6")), 1),
        (directory(">", (0x0112, 3, 2, b"\0\x08\0\x07")), 8),
        (directory(">", (0x0112, 3, 3, b"\0\x08\0\x07")), 1),
        (directory(">", (0x0112, 3, 0, b"\0\x08")), 1),
        (directory("<", (0x0112, 3, 1, b"\x09")), 1),
        (b"Exif\0\0Exif\0\0" + only_orientation(4), 4),
        (only_orientation(4)[:19], 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\xff\xff", 1),
        (b"MM", 1),
        (b"", 1),
        (HIDDEN, 1),
    ],
)
def test_orientation_is_found_where_it_can_be_read(block: bytes, value: int) -> None:
    assert orientation(memoryview(block)) == value


JPEG, PNG, WEBP, GIF, BMP = (encoded(noise(SIZE), name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP"))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xd9",
        JPEG[:20] + b"\xff\xd9",
        after_header(JPEG, b"\0"),
        after_header(JPEG, b"\xff\xfe\0\0"),
        after_header(JPEG, b"\xff\xfe\0\1"),
        after_header(JPEG, segment(0xF7, HIDDEN)),
        after_header(JPEG, segment(0xC8, HIDDEN)),
        after_header(JPEG, b"\xff\xd8"),
        JPEG[:-2] + segment(0xFE, b"") + b"more" + JPEG[-2:],
        PNG[:8] + PNG[33:],
        PNG[:8] + chunk(b"tEXt", HIDDEN) + PNG[8:],
        PNG[:33] + PNG[-12:],
        PNG[:33] + PNG[8:],
        PNG[:-12] + chunk(b"IEND", HIDDEN),
        before(PNG, b"IDAT", chunk(b"CgBI", HIDDEN)),
        riff(),
        riff((b"EXIF", exif())),
        riff((b"VP8X", bytes(9)), *riff_chunks(WEBP)),
        riff((b"VP8X", bytes(10))),
        riff((b"VP8X", b"\2" + bytes(9)), (b"ANMF", bytes(15))),
        GIF[:13] + b"\x3b",
        GIF[:-1] + b"\0\x3b",
        after_header(JPEG, segment(0xFE, b"") * 100_000),
        before(PNG, b"IDAT", chunk(b"tEXt", b"") * 100_000),
        riff((b"VP8X", b"\2" + bytes(9)), *[(b"ANMF", bytes(16))] * 100_000),
        GIF[:-1] + b"\x21\xfe\0" * 100_000 + b"\x3b",
        BMP[:2] + bytes(4) + BMP[6:],
        BMP[:2] + struct.pack("<I", len(BMP) - 1) + BMP[6:],
        b"BM" + bytes(66),
        BMP[:2] + bytes(4) + BMP[6:18] + b"\0\0\0\x80" + BMP[22:],
        b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + bytes(40),
        BMP[:30] + b"\1" + BMP[31:] + HIDDEN,
        BMP[:28] + b"\x08" + BMP[29:] + HIDDEN,
        encoded(quarters((48, 32)).quantize(4), "BMP").replace(struct.pack("<II", 4, 4), struct.pack("<II", 5, 4)),
    ],
)
def test_malformed_files_are_refused(data: bytes) -> None:
    assert strip_metadata(data) is None


def test_a_bitmap_that_names_a_file_is_refused() -> None:
    header = struct.pack("<IiiHH", 124, 1, 1, 1, 24).ljust(56, b"\0") + b"KNIL" + bytes(64)
    path = b"c:\\users\\elisabeth\\a.icc"
    data = b"BM" + struct.pack("<IHHI", 14 + 124 + 4 + len(path), 0, 0, 138) + header + bytes(4) + path
    assert strip_metadata(data) is None
    assert strip_metadata(data.replace(b"KNIL", b"BGRs")) == data.replace(b"KNIL", b"BGRs")


def test_a_core_bitmap() -> None:
    data = b"BM" + struct.pack("<IHHIIHHHH", 26 + 8, 0, 0, 26, 12, 2, 1, 1, 24) + bytes(8)
    assert strip_metadata(data + HIDDEN) == data


def test_webp_flags_say_what_is_left() -> None:
    header = dict(riff_chunks(stripped(FILES["webp alpha"])))
    assert header[b"VP8X"][0] == 0x20 | 0x10 | 0x08
    assert set(header) == {b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"EXIF"}


def test_chunks_that_a_webp_header_does_not_announce_are_dropped() -> None:
    (_, header), *rest = riff_chunks(FILES["webp"])
    done = stripped(riff((b"VP8X", bytes(1) + header[1:]), *rest))
    assert [name for name, _ in riff_chunks(done)] == [b"VP8X", b"VP8 "]


def test_a_jpeg_s_second_exif_block_goes() -> None:
    data = after_header(JPEG, segment(0xE1, exif(3)) + segment(0xE1, exif(6)))
    assert dict(opened(stripped(data)).getexif()) == {0x0112: 3}


@pytest.mark.parametrize("control", [b"\x21\xf9\0", b"\x21\xf9\x01a\0"])
def test_a_gif_s_control_of_a_wrong_size_is_refused(control: bytes) -> None:
    assert strip_metadata(GIF[:-1] + control + b"\x3b") is None


def test_a_gif_s_control_and_loop_keep_nothing_behind_them() -> None:
    control, loop = b"\x21\xf9\4abcd", b"\x21\xff\x0bNETSCAPE2.0\3\1ab"
    done = stripped(GIF[:-1] + control + b"\4more\0" + loop + b"\4more\0" + b"\x3b")
    assert done == GIF[:-1] + control + b"\0" + loop + b"\0\x3b"


def test_the_web_process_can_use_it() -> None:
    code = "import app.imaging.strip, sys; sys.exit(bool({'PIL', 'numpy', 'cv2', 'flask'} & set(sys.modules)))"
    run([sys.executable, "-c", code], check=True)


def check(data: bytes) -> None:
    """Check what holds for any bytes."""
    done = strip_metadata(data)
    if done is not None:
        assert len(done) <= len(data) + 100
        assert strip_metadata(done) == done


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_files_are_stripped_or_refused(name: str, draw: st.DataObject) -> None:
    data = FILES[name]
    at = draw.draw(st.integers(0, len(data)))
    dropped, put = draw.draw(st.integers(0, 40)), draw.draw(st.binary(max_size=12))
    check(data[:at] + put + data[at + dropped :])


@settings(deadline=None)
@given(
    st.sampled_from([JPEG[:20], JPEG[:2], PNG[:33], WEBP[:12], b"RIFF\0\1\0\0WEBPVP8X", GIF[:10], b"BM"]), st.binary()
)
def test_garbage_is_stripped_or_refused(start: bytes, rest: bytes) -> None:
    check(start + rest)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"\xff", b"\0", b"\xd9", b"\xda", b"\xe1", b"\0\4", b"Exif\0\0", JPEG[20:]]), max_size=40)
)
def test_any_order_of_a_jpeg_s_parts(parts: list[bytes]) -> None:
    check(JPEG[:20] + b"".join(parts))
