"""The one thing of EXIF that belongs to the picture: which way is up."""

from __future__ import annotations

import struct

__all__ = ["PREFIX", "only_orientation", "orientation"]

# Begins the block in a JPEG, and what some programs write into other formats.
PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
# The TIFF types in which it comes: as SHORT by the standard, as BYTE or LONG from careless programs.
INTEGERS = {1: "B", 3: "H", 4: "L"}


def orientation(block: memoryview) -> int:
    """Return the orientation 1..8 that an EXIF block asks for; 1 when it can't be read."""
    while bytes(block[:6]) == PREFIX:
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if order is None:
        return 1
    try:
        value = _find(block, order)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _find(block: memoryview, order: str) -> int:
    """Look through the first directory (TIFF 6.0, section 2)."""
    (start,) = struct.unpack_from(f"{order}L", block, 4)
    (entries,) = struct.unpack_from(f"{order}H", block, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHL", block, at)
        if tag == ORIENTATION:
            return _first(block, at + 8, order, INTEGERS.get(kind, ""), count)
    return 1


def _first(block: memoryview, at: int, order: str, kind: str, count: int) -> int:
    """Return the first of an entry's numbers; 1 if they are no numbers, or too many to stand in the entry itself."""
    if not 1 <= count * struct.calcsize(f"={kind}") <= 4:
        return 1
    return int(struct.unpack_from(order + kind, block, at)[0])


def only_orientation(value: int) -> bytes:
    """Return an EXIF block of one directory with this one entry; nothing for 1, which needs none."""
    if value == 1:
        return b""
    return struct.pack(">2sHLHHHLHHL", b"MM", 42, 8, 1, ORIENTATION, 3, 1, value, 0, 0)
