"""Number and coding of the scans in a JPEG and its variant, without decoding it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

__all__ = ["count_scans", "ends_in_last_scan", "is_arithmetic", "unsupported_variant"]

EOI, SOS, COM = 0xD9, 0xDA, 0xFE
# Frames, tables, restart intervals, application data, comments. Other markers are reserved or have no length.
KNOWN = {*range(0xC0, 0xD0), *range(0xDA, 0xE0), *range(0xE0, 0xF0), COM} - {0xC8}
# Frames with arithmetic coding.
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
JPEG_LS = 0xF7
FRAMES = {*range(0xC0, 0xD0), JPEG_LS} - {0xC4, 0xC8, 0xCC}
# Frames that the decoder does not support; lossless ones with Huffman coding are supported.
HIERARCHICAL = dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical")
PROGRESSIVE = {0xC2, 0xCA}
UNREAD_FRAMES = {0xCB: "lossless with arithmetic coding", JPEG_LS: "JPEG-LS", **HIERARCHICAL}
# Any number of fill bytes may come before a marker.
MARKER = re.compile(rb"\xff++([^\x00])", re.DOTALL)
# Within a scan 0xFF00 is data, 0xFFD0 to 0xFFD7 restart it, and repeated 0xFF are fill bytes.
END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# Above the number of any camera or program. Without a limit 10 MB of empty segments take 5 seconds.
MAX_SEGMENTS = 100_000


def count_scans(data: bytes) -> int:
    """Return the number of scans of the first picture, for a malformed file the maximum possible number."""
    try:
        return sum(marker == SOS for marker, _ in _segments(data))
    except ValueError:
        return data.count(bytes((0xFF, SOS)))


def is_arithmetic(data: bytes) -> bool:
    """Return whether the first picture uses arithmetic coding; True for a malformed file that may."""
    if not any(bytes((0xFF, marker)) in data for marker in ARITHMETIC):
        return False
    try:
        return not ARITHMETIC.isdisjoint(marker for marker, _ in _segments(data))
    except ValueError:
        return True


def unsupported_variant(data: bytes) -> str:
    """Return the name of a variant that the decoder can't read, empty for others and malformed files."""
    try:
        marker, at = next(segment for segment in _segments(data, KNOWN | {JPEG_LS}) if segment[0] in FRAMES)
    except (ValueError, StopIteration):
        return ""
    if marker in UNREAD_FRAMES:
        return UNREAD_FRAMES[marker]
    precision, components = (int.from_bytes(data[place : place + 1]) for place in (at + 2, at + 7))
    if not precision or not components:
        return ""
    if precision != 8:
        return f"{precision}-bit samples"
    return "" if components in {1, 3, 4} else f"{components} components"


def ends_in_last_scan(data: bytes) -> bool:
    """Return whether a file without an end marker ends in the pixels of a scan after which no other must follow.

    The scans of a progressive JPEG must give all bits of all 64 coefficients (ITU-T T.81, G.1).
    """
    marker, progressive, missing = 0, False, dict[int, list[int]]()
    at = 2
    try:
        for marker, at in _segments(data):
            if marker in PROGRESSIVE:
                progressive = True
            if marker == SOS and progressive:
                _note_bits(missing, data[at + 2 : at + 18])
    except (ValueError, IndexError):
        pass  # the end of the file, or of a scan's header
    complete = not any(any(bits) for bits in missing.values())
    return marker == SOS and complete and not END_OF_SCAN.search(data, at + int.from_bytes(data[at : at + 2]))


def _note_bits(missing: dict[int, list[int]], scan: bytes) -> None:
    """Update the number of missing low bits of each component's coefficients by the header of a scan."""
    count = scan[0]
    first, last, approximation = scan[1 + 2 * count :][:3]
    for component in scan[1 : 1 + 2 * count : 2]:
        bits = missing.setdefault(component, [1] * 64)
        bits[first : last + 1] = [approximation & 15] * (last + 1 - first)


def _segments(data: bytes, known: Set[int] = KNOWN) -> Iterator[tuple[int, int]]:
    """Yield marker and start of each segment up to the end of the picture; raise ValueError for a malformed file."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker, at = _marker(data, at)
        if marker == EOI:
            return
        size = int.from_bytes(data[at : at + 2])
        if marker not in known or not 2 <= size <= len(data) - at:
            raise ValueError
        yield marker, at
        at += size
        if marker == SOS:
            at = _end_of_scan(data, at)
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
