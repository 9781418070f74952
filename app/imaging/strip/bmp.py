"""BMP: a file header with the size of all, an image header, colours and pixels. There is no room for metadata."""

from __future__ import annotations

from app.imaging.strip.pieces import Malformed, number, piece

__all__ = ["strip"]

FILE_HEADER, OLD_HEADER, HEADER = 14, 12, 40
RUN_LENGTHS = {1, 2}
# What a version 5 header calls a profile that is only named, by the path of its file.
LINKED = b"KNIL"


def strip(data: memoryview) -> memoryview:
    """Cut off what comes after the end that the header gives, provided that the pixels lie before it."""
    size = number(data, 2, 4, little=True)
    if _end_of_pixels(data) > size or _names_a_file(data):
        raise Malformed
    return piece(data, 0, size)


def _end_of_pixels(data: memoryview) -> int:
    """Return where the pixels end as their number says; the end of the file if they are compressed."""
    start, header = number(data, 10, 4, little=True), number(data, FILE_HEADER, 4, little=True)
    if header == OLD_HEADER:
        width, height, bits = (number(data, at, 2, little=True) for at in (18, 20, 24))
        colour, colours = 3, 0
    elif header >= HEADER:
        width, height = (number(data, at, 4, little=True, signed=True) for at in (18, 22))
        bits, colour, colours = number(data, 28, 2, little=True), 4, number(data, 46, 4, little=True)
    else:
        raise Malformed
    palette = colour * (colours or 1 << bits) if bits <= 8 else 0
    if start < FILE_HEADER + header + palette:
        raise Malformed
    if header >= HEADER and number(data, 30, 4, little=True) in RUN_LENGTHS:
        return len(data)  # only a decoder could tell
    return start + (abs(width) * bits + 31) // 32 * 4 * abs(height)


def _names_a_file(data: memoryview) -> bool:
    return number(data, FILE_HEADER, 4, little=True) >= 124 and data[70:74] == LINKED
