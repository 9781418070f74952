"""Conversion of every mode of Pillow to 8-bit sRGB and a separate alpha."""

from __future__ import annotations

import io
import logging
import struct
from functools import cache

import numpy as np
from PIL import Image, ImageCms

__all__ = ["to_scalable", "to_srgb"]

log = logging.getLogger(__name__)

# Profiles of CMYK printers have up to 3 MB.
MAX_PROFILE_BYTES = 4 << 20
# Positions in an ICC profile: number of tags, table of tags with entries of signature, offset and size.
TAG_COUNT, TAG_TABLE, TAG_ENTRY = 128, 132, struct.Struct(">4sII")
MAX_TAGS = 100  # of LittleCMS

# Maximum difference, of 255, between versions of sRGB.
ROUNDING = 3

SCALABLE_MODES = {"L", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"}


def to_scalable(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resampled: palettes expanded, 1, 16 and 32 bits converted to 8."""
    if image.mode.startswith(("I", "F")):
        return _to_8_bit(image)
    if image.mode == "La":  # grey with premultiplied alpha, from a TIFF: Pillow has only this conversion
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode in {"LA", "RGBA"} else _with_alpha(image)
    if image.mode in SCALABLE_MODES:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    """Return the image with alpha; ignore transparency declared for another mode, as in a PNG with two headers."""
    mode = "LA" if image.mode in {"1", "L"} else "RGBA"
    try:
        return image.convert(mode)
    except (TypeError, ValueError):
        image.info.pop("transparency", None)
        return image.convert(mode)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits, 32 bits or float to 8 bits; Pillow's own conversion clips.

    The range is 16 bits for integers and 0..1 for floats; values above it extend the range to their maximum.
    """
    values = np.array(image, np.float32)
    peak = float(values.max(initial=0, where=np.isfinite(values)))
    whole = max(peak, 1.0 if image.mode == "F" else 65535.0)
    np.clip(values, 0, whole, out=values)
    np.nan_to_num(values, copy=False)
    key = image.info.get("transparency")
    scaled = Image.fromarray((values * (255 / whole) + 0.5).astype(np.uint8), "L")
    if isinstance(key, int):
        alpha = (np.array(image) != key).astype(np.uint8) * np.uint8(255)
        scaled = Image.merge("LA", (scaled, Image.fromarray(alpha)))
    scaled.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return scaled


def to_srgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Split an image in a scalable mode into (RGB in sRGB, alpha as L or None).

    The embedded ICC profile is applied; an unreadable one is ignored, as in browsers.
    """
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    colours = image.convert(image.mode.removesuffix("A")) if image.mode in {"LA", "RGBA"} else image
    colours = _apply_profile(colours, image.info.get("icc_profile"))
    return colours if colours.mode == "RGB" else colours.convert("RGB"), alpha


def _apply_profile(image: Image.Image, icc: object) -> Image.Image:
    """Return the image in sRGB; a profile of another colour model than the image's can't be applied."""
    if not isinstance(icc, bytes) or not icc or image.mode == "YCbCr":
        return image
    if not _is_plain(icc):
        log.info("ICC profile ignored: too large, or with multi-process elements")
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if image.mode == "RGB" and _is_srgb(profile):
            return image
        converted = ImageCms.profileToProfile(image, profile, _srgb(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        log.info("ICC profile ignored: %s", error)
        return image
    return converted or image


def _is_plain(icc: bytes) -> bool:
    """Return whether a profile consists of matrices, curves and tables only.

    Multi-process elements can be chained without limit: 50 kB of a PNG take 11 seconds for any image.
    """
    if len(icc) > MAX_PROFILE_BYTES:
        return False
    count = min(int.from_bytes(icc[TAG_COUNT:TAG_TABLE]), MAX_TAGS)
    table = icc[TAG_TABLE : TAG_TABLE + count * TAG_ENTRY.size]
    entries = TAG_ENTRY.iter_unpack(table[: len(table) - len(table) % TAG_ENTRY.size])
    return not any(name[:3] in {b"D2B", b"B2D"} or icc[at : at + 4] == b"mpet" for name, at, _ in entries)


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Return whether a profile, of any name, leaves sample colours as they are."""
    # Optimising a transform takes 4 ms, and is done for a whole image only.
    transform = ImageCms.buildTransform(profile, _srgb(), "RGB", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    converted = np.asarray(ImageCms.applyTransform(_samples(), transform), np.int16)
    return bool(np.abs(converted - np.asarray(_samples(), np.int16)).max() <= ROUNDING)


@cache
def _samples() -> Image.Image:
    """Return the 729 colours of nine levels per channel."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3), "RGB")


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
