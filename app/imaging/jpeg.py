"""Number and coding of the scans in a JPEG, without decoding it."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["count_scans", "is_arithmetic"]

EOI, SOS, COM = 0xD9, 0xDA, 0xFE
# Frames, tables, restart intervals, application data, comments. Other markers are reserved or have no length.
KNOWN = {*range(0xC0, 0xD0), *range(0xDA, 0xE0), *range(0xE0, 0xF0), COM} - {0xC8}
# Frames with arithmetic coding.
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
# Any number of fill bytes may come before a marker.
MARKER = re.compile(rb"\xff++([^\x00])", re.DOTALL)
# Within a scan 0xFF00 is data, 0xFFD0 to 0xFFD7 restart it, and repeated 0xFF are fill bytes.
END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# Above the number of any camera or program. Without a limit 10 MB of empty segments take 5 seconds.
MAX_SEGMENTS = 100_000


def count_scans(data: bytes) -> int:
    """Return the number of scans of the first picture, for a malformed file the maximum possible number."""
    try:
        return sum(marker == SOS for marker in _markers(data))
    except ValueError:
        return data.count(bytes((0xFF, SOS)))


def is_arithmetic(data: bytes) -> bool:
    """Return whether the first picture uses arithmetic coding; True for a malformed file that may."""
    if not any(bytes((0xFF, marker)) in data for marker in ARITHMETIC):
        return False
    try:
        return not ARITHMETIC.isdisjoint(_markers(data))
    except ValueError:
        return True


def _markers(data: bytes) -> Iterator[int]:
    """Yield the marker of each segment up to the end of the picture; raise ValueError for a malformed file."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker, at = _marker(data, at)
        if marker == EOI:
            return
        size = int.from_bytes(data[at : at + 2])
        if marker not in KNOWN or not 2 <= size <= len(data) - at:
            raise ValueError
        at += size
        if marker == SOS:
            at = _end_of_scan(data, at)
        yield marker
    raise ValueError


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the marker at `at`, and the position after it."""
    found = MARKER.match(data, at)
    if not found:
        raise ValueError
    return data[found.end() - 1], found.end()


def _end_of_scan(data: bytes, at: int) -> int:
    found = END_OF_SCAN.search(data, at)
    if not found:
        raise ValueError
    return found.start()
