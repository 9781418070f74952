"""PNG (W3C, third edition): chunks of length, name, data and CRC; animations too."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from app.imaging.strip import exif
from app.imaging.strip.pieces import Malformed, limited, number, piece

__all__ = ["strip"]

SIGNATURE = 8
KEPT = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND"),
    *(b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"pHYs", b"bKGD"),
    *(b"acTL", b"fcTL", b"fdAT"),
}
# Bit 5 of a name's first byte, lower case, says that the picture can be shown without this chunk.
ANCILLARY = 0x20


def strip(data: memoryview) -> bytearray:
    """Keep the chunks that are known to say how the picture looks, up to the end that IEND marks."""
    out = bytearray(data[:SIGNATURE])
    upright = _chunk(b"eXIf", exif.only_orientation(_orientation(data)))
    for name, chunk in limited(_chunks(data)):
        if name == b"IDAT" and upright:
            out += upright
            upright = b""
        if name in KEPT:
            out += chunk
        elif not name[0] & ANCILLARY:
            raise Malformed  # without knowing it nobody can tell what the picture looks like
    return out


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and the whole of each chunk, IHDR to IEND."""
    at, name, seen = SIGNATURE, b"", False
    while name != b"IEND":
        size, name = number(data, at, 4), bytes(piece(data, at + 4, 4))
        if (name == b"IHDR") != (at == SIGNATURE) or (name, size > 0) == (b"IEND", True):
            raise Malformed
        yield name, piece(data, at, size + 12)
        seen = seen or name == b"IDAT"
        at += size + 12
    if not seen:
        raise Malformed


def _orientation(data: memoryview) -> int:
    for name, chunk in limited(_chunks(data)):
        if name == b"eXIf":
            return exif.orientation(chunk[8:-4])
    return 1


def _chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk, nothing for no data."""
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4) if data else b""
