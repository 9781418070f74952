"""GIF (version 89a): blocks that begin with a byte of their kind; most hold sub-blocks of up to 255 bytes."""

from __future__ import annotations

from collections.abc import Iterator

from app.imaging.strip.pieces import Malformed, limited, number, piece

__all__ = ["strip"]

HEADER, IMAGE_HEADER = 13, 10
EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
TEXT, CONTROL, APPLICATION = 0x01, 0xF9, 0xFF
# With the sizes of the name and of what follows it: three bytes, the kind 1 and a number of 16 bits.
LOOPING = {b"\x0bNETSCAPE2.0\x03\x01", b"\x0bANIMEXTS1.0\x03\x01"}


def strip(data: memoryview) -> bytearray:
    """Keep the images, what controls them and how often they are repeated."""
    start = _after_table(HEADER, number(data, 10, 1))
    out, pictures = bytearray(piece(data, 0, start)), 0
    for block in limited(_blocks(data, start)):
        pictures += block[0] == IMAGE
        out += block if block[0] == IMAGE else _extension(block)
    if not pictures:
        raise Malformed
    return out + bytes((TRAILER,))


def _extension(block: memoryview) -> bytes | memoryview:
    """Keep what is drawn, or changes how; of an application's only how often an animation is shown."""
    if block[1] == TEXT:
        return block
    if block[1] == CONTROL:
        if block[2] != 4:
            raise Malformed  # decoders differ in whether they heed it
        return bytes(block[:7]) + b"\0"
    if block[1] == APPLICATION and bytes(block[2:16]) in LOOPING:
        return bytes(block[:18]) + b"\0"
    return b""


def _blocks(data: memoryview, at: int) -> Iterator[memoryview]:
    """Yield images and extensions, each whole; the trailer is the end."""
    while (kind := number(data, at, 1)) != TRAILER:
        if kind == IMAGE:
            end = _after_image(data, at)
        elif kind == EXTENSION:
            end = _after_sub_blocks(data, at + 2)
        else:
            raise Malformed
        yield data[at:end]
        at = end


def _after_image(data: memoryview, at: int) -> int:
    """Skip an image: its header, its table of colours, a byte of LZW's code size and its pixels."""
    return _after_sub_blocks(data, _after_table(at + IMAGE_HEADER, number(data, at + 9, 1)) + 1)


def _after_table(at: int, flags: int) -> int:
    return at + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


def _after_sub_blocks(data: memoryview, at: int) -> int:
    """Return where the sub-blocks that begin at `at` have ended; the last one is empty."""
    try:
        while size := data[at]:
            at += size + 1
    except IndexError:
        raise Malformed from None
    return at + 1
