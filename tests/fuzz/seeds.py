"""The valid images that the fuzzer damages: every format in its variants, small."""

from __future__ import annotations

import struct

from PIL import Image, PngImagePlugin

from tests.support.metadata_files import SIZE, every_file, exif
from tests.support.photos import encoded
from tests.support.synthetic_images import (
    chunk,
    grey_ink_profile,
    linear_grey_profile,
    noise,
    premultiplied,
    quarters,
    tiled,
)
from tests.support.tiff_files import RGB_16_PLANAR, tiff

__all__ = ["seeds"]


def seeds() -> dict[str, bytes]:
    """Return files by name; a name begins with the format, in lower case."""
    return every_file() | _colours() | _tiffs() | _iso_media() | _bitmaps()


def _colours() -> dict[str, bytes]:
    """Return modes and profiles with special treatment in decode()."""
    deep = Image.new("I;16", SIZE, 40_000)
    return {
        "jpeg ink profile": encoded(noise(SIZE).convert("CMYK"), "JPEG", icc_profile=grey_ink_profile()),
        "jpeg grey profile": encoded(noise(SIZE, 1), "JPEG", icc_profile=linear_grey_profile()),
        "png 16 bit": encoded(deep, "PNG"),
        "png 1 bit": encoded(noise(SIZE, 1).convert("1"), "PNG"),
        "png grey transparent": encoded(noise(SIZE, 1), "PNG", transparency=7),
        "png code points": _with_chunk(encoded(noise(SIZE), "PNG"), b"cICP", bytes((12, 13, 0, 1))),
        "png gamma": encoded(noise(SIZE), "PNG", pnginfo=_gamma()),
        "png 16 bit transparent": _with_chunk(encoded(deep, "PNG"), b"tRNS", struct.pack(">H", 40_000)),
        "jpeg unended": encoded(noise(SIZE), "JPEG")[:-2],
        "jpeg unended progressive": encoded(noise(SIZE), "JPEG", progressive=True)[:-2],
        "png grey alpha": encoded(noise(SIZE, 4).convert("LA"), "PNG"),
        "gif interlaced": encoded(quarters(SIZE).quantize(4), "GIF", interlace=1),
    }


def _with_chunk(data: bytes, name: bytes, value: bytes) -> bytes:
    """Return a PNG with a chunk behind its header."""
    return data[:33] + chunk(name, value) + data[33:]


def _gamma() -> PngImagePlugin.PngInfo:
    """Return gamma and chromaticities of Display P3."""
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">L", 45_455))
    info.add(b"cHRM", struct.pack(">8L", 31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000))
    return info


def _tiffs() -> dict[str, bytes]:
    kinds = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    files = {f"tiff {kind}": encoded(noise(SIZE), "TIFF", compression=kind) for kind in kinds}
    modes = ("1", "L", "LA", "P", "CMYK", "YCbCr", "LAB", "I", "F")
    files |= {f"tiff mode {mode}": encoded(_in_mode(mode), "TIFF") for mode in modes}
    return files | {
        "tiff fax": encoded(noise(SIZE, 1).convert("1"), "TIFF", compression="group4"),
        "tiff exif": encoded(noise(SIZE, 4), "TIFF", exif=exif()),
        "tiff pages": encoded(noise(SIZE), "TIFF", save_all=True, append_images=[noise(SIZE)]),
        "tiff premultiplied": premultiplied(),
        "tiff tiled": tiled(64),
        "tiff planes": tiff(RGB_16_PLANAR, bytes(6)),
        "tiff subdirectory": tiff({}, subdirectory=2),
        "tiff big": encoded(noise(SIZE), "TIFF", big_tiff=True),
    }


def _in_mode(mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", noise(SIZE).split())
    return (noise(SIZE, 4) if mode == "LA" else noise(SIZE)).convert(mode)


def _iso_media() -> dict[str, bytes]:
    """Return AVIF and HEIF files, AVIF also animated."""
    metadata = {"exif": exif()}
    return {
        "avif": encoded(noise(SIZE), "AVIF", **metadata),
        "avif alpha": encoded(noise(SIZE, 4), "AVIF"),
        "avif moving": encoded(noise(SIZE), "AVIF", save_all=True, append_images=[noise(SIZE)]),
        "heif": encoded(noise(SIZE), "HEIF", **metadata),
        "heif alpha": encoded(noise(SIZE, 4), "HEIF"),
    }


def _bitmaps() -> dict[str, bytes]:
    """Return bitmaps that Pillow can read but not write: run lengths, 16 bits per pixel, 4 bits."""
    colours = bytes(range(64)) * 16
    runs = b"\x04\x01\x00\x03\x01\x02\x03\x00\x00\x00\x00\x02\x01\x00\x03\x05\x00\x00\x00\x01"
    return {
        "bmp run lengths": _bitmap(8, 1, colours, runs),
        "bmp 4 bit run lengths": _bitmap(4, 2, colours[:64], b"\x08\x12\x00\x00" * 8 + b"\x00\x01"),
        "bmp 4 bit": _bitmap(4, 0, colours[:64], bytes(4 * 8)),
        "bmp 16 bit": _bitmap(16, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F), bytes(16 * 8)),
        "bmp alpha": encoded(noise(SIZE, 4), "BMP"),
    }


def _bitmap(bits: int, compression: int, table: bytes, pixels: bytes, size: tuple[int, int] = (8, 8)) -> bytes:
    start = 14 + 40 + len(table)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + table + pixels
