"""Encoder of finished images: pixels only, no metadata."""

from __future__ import annotations

import io
import zipfile

from PIL import Image

from app.imaging import png
from app.imaging.cutout import WHITE, extend_colours, on_colour
from app.removal import OutputFormat

__all__ = ["MIMETYPES", "encode"]

MIMETYPES: dict[OutputFormat, str] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "ZIP": "application/zip",
}
# Below this quality a PNG has a palette of 256 colours.
PALETTE_QUALITY = 60
# From this quality a PNG is encoded for size (Pillow chooses a filter for each row), below it for speed: at 2.8
# megapixels 17 ms and 2.92 MB against 203 ms and 2.84 MB at Pillow's level 3, 504 ms and 2.59 MB at its level 6.
SMALL_PNG_QUALITY = 90
# (minimum quality, Pillow's compression level).
PNG_LEVELS = ((95, 9), (90, 6), (85, 3), (0, 1))
# (maximum megapixels, maximum level): smooth photos take 4.9 seconds per megapixel at level 9, 1.0 at level 6 for files
# 2.5 % larger, and 0.5 at level 4 for another 4 %.
PNG_MAX_LEVELS = ((1.0, 9), (6.0, 6), (float("inf"), 4))
# (maximum megapixels, WEBP method). At 2.8 megapixels method 2 takes 181 ms and 439 kB, method 0 122 ms and
# 543 kB, method 4 542 ms and 423 kB; method 6 can take most of a minute on a noisy mask, so it is never used.
WEBP_METHODS = ((4.0, 2), (float("inf"), 0))
# At 90, alpha is off by at most 1 of 255, and takes half the time of 100.
WEBP_ALPHA_QUALITY = 90
# Speed 9 takes as long as WEBP's method 2 for a better picture: 274 ms at 2.8 megapixels, 8 takes 512 ms and 6 1897 ms
# for files up to 6 % smaller. Threads of its own would take the other engines' cores.
AVIF_SPEED, AVIF_THREADS = 9, 1
# Metadata that Pillow otherwise takes from `Image.info`.
NO_METADATA = {"icc_profile": None, "transparency": None, "comment": None}
# Palette entries of at least this alpha stand for opaque pixels: an octree averages alpha in steps of 32.
SOLID = 240


def encode(image: Image.Image, output: OutputFormat, quality: int) -> bytes:
    """Encode an RGBA, RGB or L image; `quality` is 10..100. A JPEG has a white background."""
    if output == "PNG":
        return _png(image, quality)
    if output == "JPEG":
        return _jpeg(on_colour(image, WHITE) if image.mode == "RGBA" else image, quality)
    if output == "WEBP":
        return _webp(image, quality)
    if output == "AVIF":
        return _save(image, "AVIF", quality=quality, speed=AVIF_SPEED, max_threads=AVIF_THREADS)
    return _zip(image, quality)


def _png(image: Image.Image, quality: int) -> bytes:
    if quality < PALETTE_QUALITY and image.mode != "L":
        image = _palette_of_256(image)
    if quality < SMALL_PNG_QUALITY and png.available(image):
        return png.write_png(image)
    level = next(level for min_quality, level in PNG_LEVELS if quality >= min_quality)
    return _save(image, "PNG", compress_level=min(level, _by_size(image, PNG_MAX_LEVELS)))


def _palette_of_256(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.quantize(256, method=Image.Quantize.MEDIANCUT)
    quantized = image.quantize(256, method=Image.Quantize.FASTOCTREE)
    palette = quantized.getpalette("RGBA") or []
    palette[3::4] = [255 if alpha >= SOLID else alpha for alpha in palette[3::4]]
    quantized.putpalette(palette, "RGBA")
    return quantized


def _jpeg(image: Image.Image, quality: int) -> bytes:
    return _save(image, "JPEG", quality=quality, progressive=True, optimize=True, subsampling="4:2:0")


def _webp(image: Image.Image, quality: int) -> bytes:
    method = _by_size(image, WEBP_METHODS)
    return _save(image, "WEBP", quality=quality, method=method, alpha_quality=WEBP_ALPHA_QUALITY)


def _by_size(image: Image.Image, efforts: tuple[tuple[float, int], ...]) -> int:
    """Return the effort for an image from pairs of (maximum megapixels, effort)."""
    megapixels = image.width * image.height / 1e6
    return next(effort for max_megapixels, effort in efforts if megapixels <= max_megapixels)


def _zip(image: Image.Image, quality: int) -> bytes:
    """Pack color.jpg and alpha.png, both of the image's size; together a fraction of a PNG."""
    if image.mode == "RGBA":
        colours, alpha = extend_colours(image), image.getchannel("A")
    else:
        colours, alpha = image, Image.new("L", image.size, 255)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (("color.jpg", _jpeg(colours, quality)), ("alpha.png", _png(alpha, quality))):
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


def _save(image: Image.Image, name: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, name, **NO_METADATA, **options)
    return target.getvalue()
