"""Take the metadata out of a file without decoding it. Standard library only: the web process uses it."""

from __future__ import annotations

from collections.abc import Callable

from app.imaging.formats import sniff
from app.imaging.strip import bmp, gif, jpeg, png, webp
from app.imaging.strip.pieces import Malformed

__all__ = ["strip_metadata"]

_STRIPPERS: dict[str, Callable[[memoryview], bytearray | memoryview]] = {
    "JPEG": jpeg.strip,
    "PNG": png.strip,
    "WEBP": webp.strip,
    "GIF": gif.strip,
    "BMP": bmp.strip,
}


def strip_metadata(data: bytes) -> bytes | None:
    """Return the same image, its pixels untouched, without metadata: of EXIF only the orientation stays.

    What its colours need stays too (ICC and the like). None for TIFF, AVIF and HEIF, whose metadata can't be told from
    pixels so simply, and for a file that is not well-formed. Takes time in proportion to the file's size; never raises.
    """
    strip = _STRIPPERS.get(sniff(data) or "")
    if strip is None:
        return None
    try:
        return bytes(strip(memoryview(data)))
    except Malformed:
        return None
