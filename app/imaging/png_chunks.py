"""Chunks of a PNG: code points, and the file without faults that leave its pixels intact (PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

__all__ = ["code_points", "mended"]

SIGNATURE_BYTES = 8
# Length, name and checksum of a chunk.
FRAME_BYTES = 12
# Programs write pixels in chunks of 8 kB or more.
MAX_CHUNKS = 100_000
# Minimum bytes of chunks that Pillow refuses if they are shorter.
MIN_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
# Frames of an animation, whose checksums take as long as those of pixels.
FRAMES = {b"fcTL", b"fdAT"}
GREY, RGB = 0, 2
# Position of depth and colour type, two bytes.
DEPTH = 24


def code_points(data: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer of the chunk cICP, None without it."""
    for name, start, end in _chunks(data):
        if name == b"cICP" and end - start == FRAME_BYTES + 4:
            return data[start + 8], data[start + 9]
        if name == b"IDAT":
            break
    return None


def mended(data: bytes) -> bytes:
    """Return a PNG without damaged chunks that its pixels do not need, and with a transparent colour that fits them.

    Pillow refuses the whole image for such a chunk, and compares the transparent colour with pixels of 8 bits.
    """
    parts, at = [], 0
    for name, start, end in _chunks(data):
        if not name[:1].islower() or name in FRAMES:
            continue
        if (chunk := _mended(name, data[start:end], data[DEPTH : DEPTH + 2])) is not None:
            parts += [data[at:start], chunk]
            at = end
    return b"".join((*parts, data[at:])) if parts else data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each complete chunk."""
    at = SIGNATURE_BYTES
    for _ in range(MAX_CHUNKS):
        end = at + FRAME_BYTES + int.from_bytes(data[at : at + 4])
        if end > len(data):
            return
        yield data[at + 4 : at + 8], at, end
        at = end


def _mended(name: bytes, chunk: bytes, depth_and_type: bytes) -> bytes | None:
    """Return the replacement of an ancillary chunk, empty to remove it, None to keep it."""
    damaged = zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:])
    if damaged or len(chunk) - FRAME_BYTES < MIN_BYTES.get(name, 0):
        return b""
    return _scaled_key(chunk, *depth_and_type) if name == b"tRNS" and len(depth_and_type) == 2 else None


def _scaled_key(chunk: bytes, depth: int, colour_type: int) -> bytes | None:
    """Return a chunk tRNS for pixels that were scaled to 8 bits; those of 16-bit grey are not scaled."""
    count = {GREY: 1, RGB: 3}.get(colour_type, 0)
    if not count or depth in {1, 8} or (depth, colour_type) == (16, GREY):
        return None
    if len(chunk) != FRAME_BYTES + 2 * count:
        return b""
    key = struct.unpack(f">{count}H", chunk[8:-4])
    scaled = (value >> 8 if depth == 16 else value * 255 // ((1 << depth) - 1) & 255 for value in key)
    body = b"tRNS" + struct.pack(f">{count}H", *scaled)
    return chunk[:4] + body + struct.pack(">L", zlib.crc32(body))
