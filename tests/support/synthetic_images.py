"""Generated images, files and profiles for the tests of imaging."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Colour = tuple[int, ...]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
NAMED_COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}


def quarters(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Return an image of four quarters: red, green, blue, white."""
    tiny = Image.new("RGB", (2, 2))
    tiny.putdata([NAMED_COLOURS[name] for name in "RGBW"])
    return tiny.resize(size, Image.Resampling.NEAREST)


def corners(image: Image.Image) -> str:
    """Return the names of the colours at top left, top right, bottom left and bottom right."""
    right, bottom = image.width - 4, image.height - 4
    return "".join(_name(image.getpixel(at)) for at in ((3, 3), (right, 3), (3, bottom), (right, bottom)))


def _name(colour: Any) -> str:
    return min(NAMED_COLOURS, key=lambda name: math.dist(NAMED_COLOURS[name], colour))


def noise(size: tuple[int, int], channels: int = 3, seed: int = 1) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(values if channels > 1 else values[..., 0])


def png(size: tuple[int, int], rows: bytes = b"", depth: int = 8, colour_type: int = 2) -> bytes:
    """Return a PNG whose header may declare any size."""
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def premultiplied() -> bytes:
    """Return a TIFF of two grey pixels with associated alpha, which Pillow can read but not write."""
    tags = {256: 2, 257: 1, 258: 8, 259: 1, 262: 1, 273: 150, 277: 2, 278: 1, 279: 4, 338: 1}
    return _tiff(tags, b"\x40\x80\xff\xff")


def _tiff(tags: dict[int, int], pixels: bytes) -> bytes:
    """Return a TIFF of one directory, with pixels from offset 150."""
    table = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + table).ljust(150, b"\0") + pixels


def tiled(side: int) -> bytes:
    """Return a grey TIFF of 48 x 32 pixels, a corner of one square tile."""
    pixels = zlib.compress(bytes(side * side)) if side < 1000 else b""
    tags = {256: 48, 257: 32, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 150, 325: len(pixels)}
    return _tiff(tags, pixels)


def swapped_profile(name: str = "Swap") -> bytes:
    """Return an sRGB profile with red and green exchanged, under another name of four letters."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = icc.index(b"rXYZ"), icc.index(b"gXYZ")
    icc[red : red + 4], icc[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(icc).replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_ink_profile() -> bytes:
    """Return a CMYK profile: paper is white, any ink a middle grey, all inks black (ICC.1:2001, lut8Type)."""
    ramp = bytes(range(256))
    paper, ink, black = (bytes((lightness, 128, 128)) for lightness in (255, 128, 0))
    matrix = struct.pack(">9i", *(65536 * (index % 4 == 0) for index in range(9)))
    lut = b"mft1" + bytes((0, 0, 0, 0, 4, 3, 2, 0)) + matrix + ramp * 4 + paper + ink * 14 + black + ramp * 3
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"Inks\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    return _profile(b"prtrCMYKLab ", {b"desc": name, b"wtpt": white, b"A2B0": lut})


def linear_grey_profile() -> bytes:
    """Return a profile for grey that is linear in light."""
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"Grey\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    return _profile(b"mntrGRAYXYZ ", {b"desc": name, b"wtpt": white, b"kTRC": b"curv" + bytes(8)})


def _profile(kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", tag, at + len(body), len(data))
        body += padded
    head = bytes(8) + b"\x02\x40\0\0" + kind + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    whole = head.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def disc(size: tuple[int, int], softness: float = 1.0) -> NDArray[np.float32]:
    """Return the coverage, 0..1, of a disc in the middle whose edge is `softness` px wide."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    inside = min(size) * 0.3 - np.hypot(x - width / 2, y - height / 2)
    return np.asarray(np.clip(inside / softness + 0.5, 0, 1), np.float32)


def composed(alpha: NDArray[np.float32], subject: Colour, background: Colour) -> NDArray[np.uint8]:
    """Return a photo of one colour on another."""
    mixed = alpha[..., None] * np.array(subject) + (1 - alpha[..., None]) * np.array(background)
    return np.asarray(np.rint(mixed), np.uint8)


def coarse(alpha: NDArray[np.float32], shift: int = 0, grid: int = 320) -> NDArray[np.float32]:
    """Return the output of a model: soft, on a small square grid, `shift` cells beside the truth."""
    small = cv2.resize(alpha, (grid, grid), interpolation=cv2.INTER_AREA)
    return np.asarray(np.roll(cv2.GaussianBlur(small, (0, 0), 1.5), shift, axis=1), np.float32)


def furry(side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a photo of a brown ball of fur in front of a sky, and its true alpha."""
    large = np.zeros((2 * side, 2 * side), np.uint8)
    cv2.circle(large, (side, side), round(0.5 * side), 255, -1)
    for angle in np.linspace(0, 2 * np.pi, 90, endpoint=False):
        tip = (round(side + 0.62 * side * np.cos(angle)), round(side + 0.62 * side * np.sin(angle)))
        cv2.line(large, (side, side), tip, 255, 3, cv2.LINE_AA)
    alpha = np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.float32) / 255
    ramp = np.linspace(0, 40, side)[None, :, None]
    mixed = alpha[..., None] * np.array([120, 80, 40]) + (1 - alpha[..., None]) * (np.array([150, 180, 210]) + ramp)
    grain = np.random.default_rng(1).normal(0, 2, mixed.shape)
    return np.asarray(np.clip(mixed + grain, 0, 255), np.uint8), np.asarray(alpha, np.float32)


def model_mask(alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the mask of a model, at full size."""
    soft = cv2.resize(coarse(alpha), alpha.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.rint(np.clip(soft, 0, 1) * 255), np.uint8)
