"""Detection of image formats by content. Standard library only: the web process uses it too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import EmptyFile, FileTooLarge, ServiceError, UnsupportedFormat

__all__ = ["ACCEPTED_FORMATS", "HEAD_BYTES", "check_image", "check_size", "of_background", "sniff", "webp_canvas"]

# Bytes that `sniff` needs at most.
HEAD_BYTES = 256
ACCEPTED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def check_image(image: bytes, max_bytes: int) -> None:
    """Raise EmptyFile, FileTooLarge or UnsupportedFormat for bytes that cannot be an image."""
    check_size(len(image), max_bytes)
    if sniff(image) is None:
        raise UnsupportedFormat()


@contextmanager
def of_background() -> Iterator[None]:
    """Name the background in the message of an error."""
    try:
        yield
    except ServiceError as error:
        error.message = f"background: {error.message}"
        raise


def check_size(size: int, max_bytes: int) -> None:
    """Raise EmptyFile or FileTooLarge for a number of bytes that an image cannot have."""
    if not size:
        raise EmptyFile()
    if size > max_bytes:
        raise FileTooLarge(f"The image has {size} bytes.", solution=f"Send an image of at most {max_bytes} bytes.")


def sniff(data: bytes) -> str | None:
    """Return the format, one of ACCEPTED_FORMATS, or None; by the first bytes only, the rest may be invalid."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _sniff_iso_media(data)
    return None


def _sniff_iso_media(data: bytes) -> str | None:
    """Distinguish AVIF and HEIF by the brands of the file type box (ISO/IEC 14496-12)."""
    size = min(int.from_bytes(data[:4]), HEAD_BYTES)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def webp_canvas(data: bytes) -> tuple[int, int, bool]:
    """Return (width, height, whether alpha is declared) of a WEBP file; raise ValueError for a malformed header.

    Pillow creates the decoder with its canvases when it opens a file, so the size must be known before. See RFC 9649,
    sections 2.5 to 2.7.
    """
    kind, payload = data[12:16], data[20:30]
    if len(payload) < 10:
        raise ValueError("the file is cut short")
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(payload[4:7], "little"),
            1 + int.from_bytes(payload[7:10], "little"),
            bool(payload[0] & 16),
        )
    if kind == b"VP8L" and payload[0] == 0x2F:
        bits = int.from_bytes(payload[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    if kind == b"VP8 " and payload[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(payload[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return width, height, False
    raise ValueError("the file does not begin with an image")
