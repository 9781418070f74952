"""TIFF files of any layout, written by their tags."""

from __future__ import annotations

import struct

__all__ = ["RGB_16_PLANAR", "tiff"]

Values = int | tuple[int, ...]
OFFSETS, COUNTS = 273, 279
# A grey pixel of 8 bits, the defaults of `tiff`.
GREY = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1}
RGB_16_PLANAR: dict[int, Values] = {256: 1, 257: 1, 258: (16, 16, 16), 262: 2, 277: 3, 284: 2}


def tiff(
    tags: dict[int, Values], pixels: bytes = b"\x80", order: str = "<", subdirectory: Values | None = None
) -> bytes:
    """Return a TIFF with these tags over those of a grey pixel.

    `subdirectory` is the photometric interpretation of a second directory, which the first one refers to.
    """
    planes = tags.get(277, 1) if tags.get(284) == 2 else 1
    assert isinstance(planes, int)
    size = len(pixels) // planes
    merged: dict[int, Values] = {**GREY, **tags}
    merged |= {OFFSETS: tuple(8 + size * plane for plane in range(planes)), COUNTS: (size,) * planes}
    at = 8 + len(pixels) + len(pixels) % 2
    body = pixels.ljust(at - 8, b"\0")
    if subdirectory is not None:
        body += _directory({262: subdirectory}, at, order)
        merged[330], at = at, 8 + len(body)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HL", 42, at) + body + _directory(merged, at, order)


def _directory(tags: dict[int, Values], at: int, order: str) -> bytes:
    entries, beyond = b"", b""
    free = at + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        kind, letter = (4, "L") if tag in {OFFSETS, COUNTS, 330} else (3, "H")
        field = struct.pack(order + letter * len(values), *values)
        if len(field) > 4:
            beyond, field = beyond + field, struct.pack(order + "L", free + len(beyond))
        entries += struct.pack(order + "HHL", tag, kind, len(values)) + field.ljust(4, b"\0")
    return struct.pack(order + "H", len(tags)) + entries + bytes(4) + beyond
