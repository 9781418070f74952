"""Kinds of TIFF that Pillow misreads without an error, or can't read, by the first directory.

TIFF 6.0; tags and values by its sections 4 to 8, 20 and 23, and by TIFF/EP and DNG.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["has_deep_planes", "refusal"]

NEW_SUBFILE, OLD_SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 255, 258, 259, 262, 266
SAMPLES, PLANAR, SUBDIRECTORIES, FORMAT, SUBSAMPLING, DNG_VERSION = 277, 284, 330, 339, 530, 50706
WANTED = {
    *(NEW_SUBFILE, OLD_SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER),
    *(SAMPLES, PLANAR, SUBDIRECTORIES, FORMAT, SUBSAMPLING, DNG_VERSION),
}
# Types of numbers: BYTE, SHORT, LONG, IFD, LONG8 and IFD8.
NUMBERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
# No tag of interest has more values: samples of a pixel, subdirectories of a raw photo.
MAX_VALUES = 8
# Maximum of TIFF; BigTIFF has none.
MAX_ENTRIES = 0xFFFF
GREYS, RGB, PALETTE, INKS, YCBCR, LAB = (0, 1), 2, 3, 5, 6, 8
# Photometric interpretations of raw photos: CFA and LinearRaw.
RAW = {32803, 34892}
# Fax, LZW, JPEG, deflate, PackBits, ThunderScan, LZMA, Zstandard.
COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32809, 32946, 34925, 50000}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
# Photometric interpretations by number format and bits per sample.
READABLE = {
    (UNSIGNED, 1): {*GREYS, PALETTE},
    (UNSIGNED, 2): {*GREYS, PALETTE},
    (UNSIGNED, 4): {*GREYS, PALETTE},
    (UNSIGNED, 8): {*GREYS, RGB, PALETTE, INKS, YCBCR, LAB},
    (UNSIGNED, 16): {1, RGB, INKS},
    (SIGNED, 32): {1},
    (FLOAT, 32): {1},
}

Directory = dict[int, tuple[int, ...]]


def refusal(data: bytes) -> str:
    """Return why a TIFF can't be read, empty if it can; damaged ones are left to the decoder."""
    order, first, others = _directories(data)
    if not first:
        return ""
    photometrics = {_first(each, PHOTOMETRIC, 0) for each in (first, *others)}
    if data[8:10] == b"CR" or DNG_VERSION in first or photometrics & RAW:
        return "it is a camera's raw photo"
    if _first(first, NEW_SUBFILE, 0) & 1 or _first(first, OLD_SUBFILE, 1) == 2:
        return "it begins with a preview of another image"
    return _layout_refusal(first, order)


def has_deep_planes(data: bytes) -> bool:
    """Return whether samples of 16 bits are in separate planes: libtiff reads them, Pillow itself doesn't."""
    first = _directories(data)[1]
    return _first(first, BITS, 1) == 16 and _first(first, PLANAR, 1) == 2


def _layout_refusal(tags: Directory, order: str) -> str:
    """Return why the decoder can't read the pixels of a directory."""
    compression, photometric = _first(tags, COMPRESSION, 1), _first(tags, PHOTOMETRIC, 0)
    if compression not in COMPRESSIONS:
        return f"compression {compression}"
    formats, bits = set(tags.get(FORMAT, (UNSIGNED,))), set(tags.get(BITS, (1,)))
    kind = (formats.pop(), bits.pop())
    if formats or bits or photometric not in READABLE.get(kind, ()):
        names = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating-point"}
        number = names.get(kind[0], "undefined")
        return f"{kind[1]}-bit {number} samples with photometric interpretation {photometric}"
    samples, planar = _first(tags, SAMPLES, 1), _first(tags, PLANAR, 1) == 2
    if samples > 1 and photometric in GREYS and (kind != (UNSIGNED, 8) or not photometric):
        return f"{kind[1]}-bit grey with alpha"
    if planar and samples > 1 and photometric in GREYS:
        return f"{kind[1]}-bit samples in separate planes"
    if kind[1] == 32 and compression != 1 and order == ">":
        return "compressed 32-bit samples in big-endian order"
    if kind[1] > 8 and _first(tags, FILL_ORDER, 1) == 2:
        return f"{kind[1]}-bit samples with reversed bits"
    subsampled = photometric == YCBCR and set(tags.get(SUBSAMPLING, (1,))) != {1}
    return "subsampled colours without compression" if subsampled and compression == 1 else ""


def _directories(data: bytes) -> tuple[str, Directory, list[Directory]]:
    """Return the byte order, the first directory and its subdirectories; empty ones for a damaged file."""
    order, big = _variant(data)
    try:
        first = _directory(data, _start(data, order, big), order, big)
        return order, first, [_directory(data, at, order, big) for at in first.get(SUBDIRECTORIES, ())]
    except (struct.error, OverflowError):  # OverflowError: an offset of 64 bits
        return order, {}, []


def _variant(data: bytes) -> tuple[str, bool]:
    """Return the byte order, and whether it is a BigTIFF."""
    return (">" if data[:2] == b"MM" else "<"), 43 in data[2:4]


def _start(data: bytes, order: str, big: bool) -> int:
    return int(struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)[0])


def _directory(data: bytes, at: int, order: str, big: bool) -> Directory:
    """Return the values of the tags of interest; raise struct.error beyond the end of the file."""
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    start, entry = at + (8 if big else 2), struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    end = min(start + min(entries, MAX_ENTRIES) * entry.size, len(data))
    table = data[start : end - (end - start) % entry.size]
    return dict(_values(data, entry.iter_unpack(table), order, big))


def _values(
    data: bytes, entries: Iterator[tuple[int, int, int, bytes]], order: str, big: bool
) -> Iterator[tuple[int, tuple[int, ...]]]:
    for tag, kind, count, field in entries:
        if tag in WANTED and kind in NUMBERS and count:
            numbers = struct.Struct(f"{order}{min(count, MAX_VALUES)}{NUMBERS[kind]}")
            inside = count * struct.calcsize(order + NUMBERS[kind]) <= len(field)
            at = 0 if inside else struct.unpack(order + ("Q" if big else "L"), field)[0]
            yield tag, numbers.unpack_from(field if inside else data, at)


def _first(tags: Directory, tag: int, default: int) -> int:
    return tags.get(tag, (default,))[0]
