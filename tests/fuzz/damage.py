"""Damage that gets deep into a decoder: bits, lengths, order, splices; mostly with corrected checksums."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Literal

__all__ = ["damaged"]

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
LARGE, HUGE = 1 << 18, 1 << 22
JPEG_SEGMENT = re.compile(rb"\xff[\xc0-\xfe]")


def damaged(rng: Random, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of a file and its damaged content."""
    name = rng.choice(sorted(files))
    data = files[name]
    other = files[rng.choice([each for each in sorted(files) if _kind(each) == _kind(name) or rng.random() < 0.02])]
    for _ in range(1 + int(rng.expovariate(1))):
        data = rng.choice(MUTATIONS)(rng, data, other) or b"\0"
    return name, _repaired(data) if rng.random() < 0.7 else data


def _kind(name: str) -> str:
    return name.split()[0]


def _place(rng: Random, data: bytes) -> int:
    """Return a random position, often near the beginning, where the headers are."""
    near = int(rng.expovariate(1 / 60)) if rng.random() < 0.6 else len(data)
    return near if near < len(data) else rng.randrange(len(data) or 1)


def _part(rng: Random, data: bytes) -> tuple[int, int]:
    at = _place(rng, data)
    return at, min(len(data), at + 1 + int(rng.expovariate(1 / 24)))


def _flip(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        changed[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _extreme(rng: Random, data: bytes, other: bytes) -> bytes:
    """Set a number of some width to an extreme value, to the file's size, or near its old value."""
    at, width, order = _place(rng, data), rng.choice((1, 2, 4, 4, 8)), rng.choice(ORDERS)
    old = int.from_bytes(data[at : at + width], order)
    value = rng.choice((*EXTREMES, len(data), len(data) - at, old + 1, old - 1, old * 2, -old))
    return data[:at] + (value % (1 << 8 * width)).to_bytes(width, order) + data[at + width :]


def _cut(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(rng: Random, data: bytes, other: bytes) -> bytes:
    start, end = _part(rng, data)
    return data[:start] + data[end:]


def _repeat(rng: Random, data: bytes, other: bytes) -> bytes:
    """Repeat a part a few times; sometimes until the file is large, to find more than linear time."""
    start, end = _part(rng, data)
    chance = rng.random()
    size = HUGE if chance < 0.002 else LARGE if chance < 0.03 else (end - start) * rng.randint(1, 4)
    return data[:end] + data[start:end] * (size // max(1, end - start)) + data[end:]


def _insert(rng: Random, data: bytes, other: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.randint(1, 16)) + data[at:]


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    """Continue with another file, at the same position or a random one."""
    at = _place(rng, data)
    return data[:at] + other[at if rng.random() < 0.5 else rng.randrange(len(other)) :]


def _transplant(rng: Random, data: bytes, other: bytes) -> bytes:
    (start, end), at = _part(rng, other), _place(rng, data)
    return data[:at] + other[start:end] + data[at + rng.choice((0, end - start)) :]


def _reorder(rng: Random, data: bytes, other: bytes) -> bytes:
    """Drop, repeat, move or borrow a whole chunk of the file."""
    chunks, foreign = _chunks(data), _chunks(other)
    taken = rng.choice(foreign if rng.random() < 0.3 else chunks)
    if rng.random() < 0.5:
        chunks.remove(rng.choice(chunks))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 300))):
        chunks.insert(rng.randint(1, max(1, len(chunks))), taken)
    return b"".join(chunks)


MUTATIONS: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    *(_flip, _flip, _extreme, _extreme, _extreme),
    *(_cut, _drop, _repeat, _insert, _splice, _transplant, _reorder, _reorder),
)


def _chunks(data: bytes) -> list[bytes]:
    """Split a file into chunks; of 64 bytes if its format has none."""
    if data.startswith(b"\x89PNG"):
        return _by_length(data, 8, ">I", 12)
    if data.startswith(b"RIFF"):
        return _by_length(data, 12, "<4xI", 8)
    if data[4:8] == b"ftyp":
        return _by_length(data, 0, ">I", 0)
    if data.startswith(b"\xff\xd8"):
        starts = [found.start() for found in JPEG_SEGMENT.finditer(data)]
    else:
        starts = list(range(0, len(data), 64))
    return [data[start:end] for start, end in zip([0, *starts[1:]], [*starts[1:], len(data)], strict=True)]


def _by_length(data: bytes, at: int, length: str, extra: int) -> list[bytes]:
    """Return chunks of a declared length plus `extra` bytes; the last one may have any content."""
    chunks = [data[:at]]
    while at + 8 <= len(data):
        size = max(8, struct.unpack_from(length, data, at)[0] + extra)
        chunks.append(data[at : at + size + (size % 2 if length.startswith("<") else 0)])
        at += len(chunks[-1])
    return [*chunks, data[at:]]


def _repaired(data: bytes) -> bytes:
    """Correct the checksums of PNG chunks and the size of a WebP file."""
    if data.startswith(b"RIFF"):
        return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    if not data.startswith(b"\x89PNG"):
        return data
    first, *chunks = _by_length(data, 8, ">I", 12)
    return first + b"".join(each[:-4] + struct.pack(">I", zlib.crc32(each[4:-4])) for each in chunks if len(each) >= 12)
