"""JPEGs without their end marker: whether all pixels are there."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from PIL import Image

from app.imaging.jpeg import ends_in_last_scan

__all__ = ["load_unended"]

EOI = b"\xff\xd9"
FILLS = (b"\x00" * 64, b"\x55" * 64)
# Two continuations of a scan, with and without restarts. Where pixels are missing they give different ones; a complete
# scan ignores them.
CONTINUATIONS = tuple(fill + b"".join(bytes((0xFF, 0xD0 + n)) + fill for n in range(8)) for fill in FILLS)
# A file that was preallocated or lies on a damaged disk ends with one repeated byte, which decodes as any pixels.
TAIL = 32


def load_unended(data: bytes, open_image: Callable[[bytes], Image.Image]) -> Image.Image | None:
    """Return the loaded image, None if pixels are missing or the file has an end marker."""
    if data.endswith(EOI) or len(set(data[-TAIL:])) == 1 or not ends_in_last_scan(data):
        return None
    image, checksums = None, set()
    for continuation in CONTINUATIONS:
        if image is not None:
            image.close()
        image = open_image(data + continuation + EOI)
        image.load()
        checksums.add(zlib.crc32(image.tobytes()))
    return image if len(checksums) == 1 else None
