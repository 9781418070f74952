"""Orientation of EXIF blocks, valid and damaged."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imaging.exif import orientation
from tests.support.metadata_files import HIDDEN, exif

TIFF_HEADER = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}


def directory(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    packed = b"".join(struct.pack(f"{order}HHL", *each[:3]) + each[3].ljust(4, b"\0") for each in entries)
    return TIFF_HEADER[order] + struct.pack(f"{order}H", len(entries)) + packed


FOUR = directory(">", (0x0112, 3, 1, b"\0\x04"))


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
        (b"Exif\0\0Exif\0\0" + FOUR, 4),
        (b"Exif\0\0" * 1_000_000 + FOUR, 4),
        (FOUR[:19], 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\xff\xff", 1),
        (b"MM", 1),
        (b"", 1),
        (HIDDEN, 1),
    ],
    ids=range(18),
)
def test_orientation_is_found_if_it_can_be_read(block: bytes, value: int) -> None:
    assert orientation(block) == value


@pytest.mark.parametrize("value", [*range(1, 9), 0, 9, None])
def test_orientation_of_a_complete_block_is_found(value: int | None) -> None:
    assert orientation(exif(value)) == (value if value in range(1, 9) else 1)


@given(st.sampled_from([b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08\0\2\1\x12"]), st.binary())
def test_any_bytes_give_a_valid_orientation(start: bytes, rest: bytes) -> None:
    assert orientation(start + rest) in range(1, 9)
