"""Pieces of a buffer, never beyond its end, for all the formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

__all__ = ["Malformed", "limited", "number", "piece"]

T = TypeVar("T")

# More segments, chunks or blocks than any camera or program writes. Without a limit 10 MB of empty ones take 5 seconds.
MOST_PIECES = 100_000


class Malformed(ValueError):
    """Raised where a file is not what its format says; it never leaves the package."""


def piece(data: memoryview, at: int, size: int) -> memoryview:
    """Return `size` bytes from `at`; Malformed when there are fewer."""
    if not 0 <= size <= len(data) - at:
        raise Malformed
    return data[at : at + size]


def number(data: memoryview, at: int, size: int, *, little: bool = False, signed: bool = False) -> int:
    """Return the integer of `size` bytes at `at`; Malformed when the data ends before."""
    return int.from_bytes(piece(data, at, size), "little" if little else "big", signed=signed)


def limited(pieces: Iterator[T]) -> Iterator[T]:
    """Pass on at most MOST_PIECES; Malformed when there are more."""
    for count, each in enumerate(pieces):
        if count == MOST_PIECES:
            raise Malformed
        yield each
