"""Orientation in an EXIF block, also if the rest of the block is damaged."""

from __future__ import annotations

import re
import struct

__all__ = ["PREFIX", "orientation"]

# Prefix of the block in a JPEG; some programs write it into other formats, too.
PREFIX = b"Exif\0\0"
REPEATED_PREFIX = re.compile(rb"\A(?:Exif\x00\x00)++")
ORIENTATION = 0x0112
# TIFF types of the entry: SHORT by the standard, BYTE or LONG in invalid files.
INTEGERS = {1: "B", 3: "H", 4: "L"}


def orientation(block: bytes) -> int:
    """Return the orientation 1..8 of an EXIF block, 1 if it cannot be read."""
    block = REPEATED_PREFIX.sub(b"", block, count=1)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        value = _find(block, order)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _find(block: bytes, order: str) -> int:
    """Search the first directory (TIFF 6.0, section 2)."""
    (start,) = struct.unpack_from(f"{order}L", block, 4)
    (entries,) = struct.unpack_from(f"{order}H", block, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHL", block, at)
        if tag == ORIENTATION:
            return _first(block, at + 8, order, INTEGERS.get(kind, ""), count)
    return 1


def _first(block: bytes, at: int, order: str, kind: str, count: int) -> int:
    """Return the first number of an entry; 1 if it has none, or more than fit into the entry itself."""
    if not 1 <= count * struct.calcsize(f"={kind}") <= 4:
        return 1
    return int(struct.unpack_from(order + kind, block, at)[0])
