"""Fast PNG encoder: one filter for all rows, and a fast deflate.

PNG (W3C, third edition, 2025) has a filter per row; other encoders spend their time on the choice of filters and on
strong compression. On cut-outs the Up filter alone, with ISA-L's deflate at level 2, gives files of the size of zlib's
level 3 in a tenth of the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    from isal import isal_zlib
except ImportError:  # not built for every processor
    HAVE_ISAL = False
else:
    HAVE_ISAL = True

__all__ = ["available", "write_png"]

Bytes = NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# PNG's colour type of each supported mode.
COLOUR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6}
UP = 2
LEVEL = 2
# Rows filtered at once, to copy a strip instead of the image.
STRIP = 64
# Bytes of an IDAT chunk, at least; each chunk adds twelve bytes.
IDAT_BYTES = 1 << 18


def available(image: Image.Image) -> bool:
    """Return whether `write_png` can encode an image on this machine."""
    return HAVE_ISAL and image.mode in COLOUR_TYPES


def write_png(image: Image.Image) -> bytes:
    """Encode an L, RGB or RGBA image, lossless, without metadata."""
    header = struct.pack("!IIBBBBB", *image.size, 8, COLOUR_TYPES[image.mode], 0, 0, 0)
    pixels = np.asarray(image).reshape(image.height, -1)
    return b"".join([SIGNATURE, *_chunk(b"IHDR", header), *_data_chunks(pixels), *_chunk(b"IEND", b"")])


def _data_chunks(rows: Bytes) -> Iterator[bytes]:
    """Yield the IDAT chunks of the rows."""
    deflate = isal_zlib.compressobj(LEVEL)
    pending = bytearray()
    for strip in _filtered(rows):
        pending += deflate.compress(strip)
        if len(pending) >= IDAT_BYTES:
            yield from _chunk(b"IDAT", bytes(pending))
            pending.clear()
    yield from _chunk(b"IDAT", bytes(pending + deflate.flush()))


def _filtered(rows: Bytes) -> Iterator[Bytes]:
    """Yield strips of rows, each as the filter's number and the difference to the row above (section 9.2)."""
    above = np.zeros(rows.shape[1], np.uint8)
    for top in range(0, rows.shape[0], STRIP):
        strip = rows[top : top + STRIP]
        filtered = np.empty((strip.shape[0], strip.shape[1] + 1), np.uint8)
        filtered[:, 0] = UP
        np.subtract(strip[0], above, out=filtered[0, 1:])
        np.subtract(strip[1:], strip[:-1], out=filtered[1:, 1:])
        above = strip[-1]
        yield filtered


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    """Return a chunk in parts: length, type, data, checksum (section 5.3)."""
    return struct.pack("!I", len(data)), kind, data, struct.pack("!I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))
