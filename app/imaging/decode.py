"""Bytes to an upright sRGB photo of at most the size that is needed."""

from __future__ import annotations

import importlib.util
import io
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError, features

from app.errors import CorruptImage, TooManyPixels, UnsupportedFormat
from app.imaging import colour, exif
from app.imaging.formats import sniff, webp_canvas
from app.imaging.geometry import Size, fit_within
from app.imaging.jpeg import count_scans

__all__ = ["Header", "Photo", "PixelLimits", "decode", "measure"]

log = logging.getLogger(__name__)

# What a decoder raises for bytes that are not what their header says. Anything else is a fault of ours: 500.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    RuntimeError,
)

# Cameras write one, large ones take some. Pillow copies all it has for each one more: 10 MB of them take a minute.
MAX_EXIF_BLOCKS = 100
# Encoders write up to 20. Each takes 20 ms at 25 megapixels and as little as 40 bytes: 10 MB of them take an hour.
MAX_SCANS = 100


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """How many pixels (width times height) may be decoded, and how many an image may have at all."""

    decoded: int
    hard: int


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself before it is decoded.

    `size` is what will be decoded, which a draft has made smaller than `full_size` for a JPEG. `samples_per_pixel`
    counts a JPEG's colour samples at full size: 3 without chroma subsampling, 1.5 with 4:2:0.
    """

    format: str
    mode: str
    full_size: Size
    size: Size
    transparent: bool = False
    progressive: bool = False
    samples_per_pixel: float = 3.0


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded image: `rgb` in sRGB, its own `alpha` (mode L, same size) or None, and its upright full size."""

    rgb: Image.Image
    alpha: Image.Image | None
    full_size: Size
    format: str

    @property
    def size(self) -> Size:
        """Return (width, height) of the decoded pixels."""
        return self.rgb.size


def decode(
    data: bytes,
    longest_side: int,
    limits: PixelLimits,
    approve: Callable[[Header], None] = lambda header: None,
    min_side: int = 0,
) -> Photo:
    """Decode the first frame of an image, scaled down to `longest_side` px at most, never up.

    A larger JPEG may come out with `min_side` px, where it can be read at that scale in half the time. EXIF
    orientation is applied, colours are converted to sRGB, 8 bit a channel. `approve` may raise to refuse an image by
    its header. Raises UnsupportedFormat, TooManyPixels (before any pixel is decoded) and CorruptImage.
    """
    name = _format_of(data)
    image, full_size, turn = _load(data, name, min_side or longest_side, limits, approve)
    scaled = _shrink(colour.to_scalable(image), longest_side)
    if scaled is not image:
        image.close()  # it sits in a reference cycle, and its pixels would outlive the whole request
    rgb, alpha = colour.to_srgb(scaled)
    if turn in _SIDEWAYS:
        full_size = full_size[::-1]
    return Photo(_turned(rgb, turn), _turned(alpha, turn) if alpha else None, full_size, name)


def measure(data: bytes, limits: PixelLimits) -> Header:
    """Return what an image says of itself, without decoding it; raises what `decode` does."""
    name = _format_of(data)
    with _strict_pillow(limits.hard), _as_corrupt(limits.hard):
        if name == "WEBP":
            _approve_webp(data, limits, lambda header: None)
        image = _open(data, name)
        return _header(image, name, image.size)


def _load(
    data: bytes, name: str, min_side: int, limits: PixelLimits, approve: Callable[[Header], None]
) -> tuple[Image.Image, Size, int]:
    """Return the decoded image, which a JPEG's draft has scaled down already, its full size and its orientation."""
    with _strict_pillow(limits.hard), _as_corrupt(limits.hard):
        if name == "WEBP":
            _approve_webp(data, limits, approve)
        image = _open(data, name)
        full_size = image.size
        _check_pixels(image, min_side, limits.decoded)
        approve(_header(image, name, full_size))
        image.load()
        return image, full_size, _orientation(image)


def _approve_webp(data: bytes, limits: PixelLimits, approve: Callable[[Header], None]) -> None:
    """Check a WEBP's own word for its size before Pillow opens it, since that allocates whole canvases."""
    width, height, transparent = webp_canvas(data)
    if width * height > limits.decoded:
        raise _too_many(limits.decoded, f"The image has {width} x {height} pixels.")
    mode = "RGBA" if transparent else "RGB"
    approve(Header("WEBP", mode, (width, height), (width, height), transparent))


def _format_of(data: bytes) -> str:
    """Return the format of an image that can be read here; raise UnsupportedFormat."""
    name = sniff(data)
    if name is None or not _can_read(name):
        raise UnsupportedFormat()
    return name


def _can_read(name: str) -> bool:
    if name == "AVIF":
        return bool(features.check("avif"))
    if name == "HEIF":
        return importlib.util.find_spec("pillow_heif") is not None
    return True


def _open(data: bytes, name: str) -> Image.Image:
    if name == "JPEG":
        _check_jpeg(data)
    if name == "HEIF":
        import pillow_heif  # optional, and only worth its memory when such a photo comes

        pillow_heif.register_heif_opener(thumbnails=False)
    return Image.open(io.BytesIO(data), formats=[name])


def _check_jpeg(data: bytes) -> None:
    """Refuse a JPEG that is made to take minutes."""
    if data.count(exif.PREFIX) > MAX_EXIF_BLOCKS:
        raise CorruptImage(details="too many EXIF blocks")
    # The quick count is of chance findings too, in a film behind the picture for example; it spares most the slow one.
    if data.count(b"\xff\xda") > MAX_SCANS and count_scans(data) > MAX_SCANS:
        raise CorruptImage(details="too many scans")


def _check_pixels(image: Image.Image, min_side: int, most: int) -> None:
    """Refuse what is too large before decoding; let a JPEG scale itself down by 2, 4 or 8 while it is read."""
    width, height = image.size
    # A draft is never smaller than what is asked of it, so that the last step down is a filtered one.
    image.draft(None, fit_within((width, height), min_side, min_side))
    if image.size[0] * image.size[1] > most:
        raise _too_many(most, f"The image has {width} x {height} pixels.")
    if _tile_pixels(image) > most:
        raise _too_many(most, "The image consists of tiles that are too large.")


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels of a TIFF's tile, 0 without: tiles are decoded whole, however small a part the image shows."""
    tags = getattr(image, "tag_v2", {})
    return abs(int(tags.get(ExifTags.Base.TileWidth, 0)) * int(tags.get(ExifTags.Base.TileLength, 0)))


def _header(image: Image.Image, name: str, full_size: Size) -> Header:
    sampling = [(across, down) for _, across, down, *_ in getattr(image, "layer", [])]
    whole = max((across * down for across, down in sampling), default=1)
    return Header(
        format=name,
        mode=image.mode,
        full_size=full_size,
        size=image.size,
        transparent=image.has_transparency_data,
        progressive="progressive" in image.info or "progression" in image.info,
        samples_per_pixel=sum(across * down for across, down in sampling) / whole if sampling else 3.0,
    )


def _too_many(most: int, message: str = "") -> TooManyPixels:
    return TooManyPixels(message, solution=f"Send an image of at most {most / 1e6:g} megapixels.")


def _shrink(image: Image.Image, longest_side: int) -> Image.Image:
    size = fit_within(image.size, longest_side, longest_side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8; a block that can't be read means 1, it is no reason to refuse a photo."""
    block = image.info.get("exif")
    # Pillow gives up a whole block for one entry that is damaged, browsers do not.
    if isinstance(block, bytes) and (turn := exif.orientation(block)) != 1:
        return turn
    try:
        value = image.getexif().get(0x0112, 1)
    except DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


@contextmanager
def _strict_pillow(max_pixels: int) -> Iterator[None]:
    """Make Pillow's decompression-bomb warning, given when a header is read, an error at our own number of pixels."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _as_corrupt(max_pixels: int) -> Iterator[None]:
    """Turn what Pillow raises for bad bytes, or for more than `max_pixels`, into errors of ours."""
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_many(max_pixels) from error
    except (UnidentifiedImageError, *DECODER_ERRORS) as error:
        if "memory" in str(error):  # how Pillow's plugins say that a decoder could not allocate
            raise MemoryError(str(error)) from error
        log.info("decoder refused the image: %s: %s", type(error).__name__, error)
        raise CorruptImage(details=type(error).__name__) from error
