"""JPEG (ITU-T T.81, annex B): segments that each begin with a marker, and scans between them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.imaging.strip import exif
from app.imaging.strip.pieces import Malformed, limited, number, piece

__all__ = ["scans", "strip"]

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
APP0, APP1, APP2, APP14, COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
# Frames, tables and restart intervals, and what hierarchical files add. The others are reserved, or stand alone.
NEEDED = {*range(0xC0, 0xD0), SOS, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF} - {0xC8}
KNOWN = NEEDED | {*range(APP0, APP0 + 16), COM}
# Any number of fill bytes may come before a marker.
MARKER = re.compile(rb"\xff++([^\x00])", re.DOTALL)
# Within a scan 0xFF00 is data, 0xFFD0 to 0xFFD7 restart it, and of several 0xFF the last one counts.
END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def strip(data: memoryview) -> bytearray:
    """Keep what is needed for the pixels, their colours and their orientation; end with the first picture."""
    out, upright, in_header = bytearray((0xFF, SOI)), _orientation(data), True
    for marker, body, scan in limited(_segments(data)):
        if marker in NEEDED:
            out += _segment(marker, body)
            out += scan
        elif _is_exif(marker, body):
            out += upright
            upright = b""
        elif in_header:
            out += _application(marker, body)
        in_header = in_header and marker != SOS
    if in_header:
        raise Malformed
    return out + bytes((0xFF, EOI))


def scans(data: bytes) -> int:
    """Return how many scans the first picture has; for a malformed file how many it can have at most."""
    try:
        return sum(marker == SOS for marker, _, _ in limited(_segments(memoryview(data))))
    except Malformed:
        return data.count(bytes((0xFF, SOS)))


def _segments(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield each segment's marker and data and, if it begins a scan, what is scanned; EOI is the end."""
    marker, at = _marker(data, 2)
    while marker != EOI:
        if marker not in KNOWN:
            raise Malformed
        body = piece(data, at + 2, number(data, at, 2) - 2)
        at += 2 + len(body)
        end = _end_of_scan(data, at) if marker == SOS else at
        yield marker, body, data[at:end]
        marker, at = _marker(data, end)


def _orientation(data: memoryview) -> bytes:
    """Return the segment that keeps the orientation, nothing where none is needed."""
    for marker, body, _ in limited(_segments(data)):
        if marker == SOS:
            break
        if _is_exif(marker, body):
            block = exif.only_orientation(exif.orientation(body))
            return _segment(APP1, exif.PREFIX + block) if block else b""
    return b""


def _is_exif(marker: int, body: memoryview) -> bool:
    return marker == APP1 and bytes(body[:6]) == exif.PREFIX


def _marker(data: memoryview, at: int) -> tuple[int, int]:
    """Return the marker at `at` and where what follows it begins."""
    found = MARKER.match(data, at)
    if not found:
        raise Malformed
    return data[found.end() - 1], found.end()


def _end_of_scan(data: memoryview, at: int) -> int:
    found = END_OF_SCAN.search(data, at)
    if not found:
        raise Malformed
    return found.start()


def _segment(marker: int, body: bytes | memoryview) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


def _application(marker: int, body: memoryview) -> bytes:
    """Keep of an application's segment what says how to show the colours: JFIF, ICC and Adobe's."""
    if marker == APP0 and bytes(body[:5]) == b"JFIF\0" and len(body) >= 14:
        return _segment(marker, bytes(body[:12]) + b"\0\0")  # 12 and 13 are the size of a thumbnail
    if marker == APP2 and bytes(body[:12]) == b"ICC_PROFILE\0":
        return _segment(marker, body)
    if marker == APP14 and bytes(body[:5]) == b"Adobe" and len(body) >= 12:
        return _segment(marker, body[:12])
    return b""
