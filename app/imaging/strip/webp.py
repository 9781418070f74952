"""WebP (RFC 9649): RIFF chunks of name, length and data; an animation's frames hold chunks themselves."""

from __future__ import annotations

from collections.abc import Iterator

from app.imaging.strip import exif
from app.imaging.strip.pieces import Malformed, limited, number, piece

__all__ = ["strip"]

RIFF_HEADER, CHUNK_HEADER, EXTENDED_HEADER, FRAME_HEADER = 12, 8, 10, 16
PIXELS = {b"VP8 ", b"VP8L", b"ALPH"}
HAS_ICC, HAS_ALPHA, HAS_EXIF, IS_ANIMATED = 0x20, 0x10, 0x08, 0x02


def strip(data: memoryview) -> bytearray:
    """Keep pixels, profile and animation, and only these in the header's flags."""
    data = piece(data, 0, number(data, 4, 4, little=True) + CHUNK_HEADER)
    name, body = next(_chunks(data, RIFF_HEADER), (b"", data))
    if name == b"VP8X":
        kept = _extended(data, piece(body, 0, EXTENDED_HEADER))
    elif name in {b"VP8 ", b"VP8L"}:
        kept = _chunk(name, body)  # nobody looks at what may come after it
    else:
        raise Malformed
    return bytearray(b"RIFF" + (len(kept) + 4).to_bytes(4, "little") + b"WEBP") + kept


def _extended(data: memoryview, header: memoryview) -> bytearray:
    """Keep the chunks that the header announces, as decoders do, each at its place; EXIF goes to the end."""
    announced = header[0] & (HAS_ICC | HAS_ALPHA | IS_ANIMATED)
    kept = PIXELS | {name for flag, name in ((HAS_ICC, b"ICCP"), (IS_ANIMATED, b"ANIM")) if announced & flag}
    upright = _orientation(data) if header[0] & HAS_EXIF else b""
    out, pixels = bytearray(), False
    for name, body in limited(_chunks(data, RIFF_HEADER)):
        is_frame = name == b"ANMF" and bool(announced & IS_ANIMATED)
        pixels = pixels or is_frame or name in PIXELS
        if is_frame:
            out += _chunk(name, _frame(body))
        elif name in kept:
            out += _chunk(name, body)
    if not pixels:
        raise Malformed
    flags = bytes((announced | (HAS_EXIF if upright else 0),))
    return _chunk(b"VP8X", flags + bytes(header[1:])) + out + upright


def _orientation(data: memoryview) -> bytes:
    """Return the EXIF chunk that keeps the orientation, nothing where none is needed."""
    for name, body in limited(_chunks(data, RIFF_HEADER)):
        if name == b"EXIF":
            block = exif.only_orientation(exif.orientation(body))
            return bytes(_chunk(name, block)) if block else b""
    return b""


def _frame(body: memoryview) -> bytearray:
    out = bytearray(piece(body, 0, FRAME_HEADER))
    for name, part in limited(_chunks(body, FRAME_HEADER)):
        if name in PIXELS:
            out += _chunk(name, part)
    return out


def _chunks(data: memoryview, at: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and the data of each chunk from `at` to the end."""
    while at < len(data):
        name, size = bytes(piece(data, at, 4)), number(data, at + 4, 4, little=True)
        yield name, piece(data, at + CHUNK_HEADER, size)
        at += CHUNK_HEADER + size + size % 2


def _chunk(name: bytes, body: bytes | bytearray | memoryview) -> bytearray:
    """Return a chunk, padded to an even length."""
    return bytearray(name + len(body).to_bytes(4, "little")) + body + bytes(len(body) % 2)
