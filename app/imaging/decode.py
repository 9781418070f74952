"""Decoder: bytes to an upright sRGB photo, no larger than needed."""

from __future__ import annotations

import importlib.util
import io
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from app.errors import CorruptImage, TooManyPixels, UnsupportedFormat
from app.imaging import code_points, colour, exif, png_chunks, tiff
from app.imaging.formats import sniff, webp_canvas
from app.imaging.geometry import Size, fit_within
from app.imaging.jpeg import count_scans, is_arithmetic, unsupported_variant
from app.imaging.own_alpha import is_cut_out
from app.imaging.reference import resized
from app.imaging.unended import load_unended

__all__ = ["Header", "Photo", "PixelLimits", "decode", "measure"]

log = logging.getLogger(__name__)

# Exceptions of decoders for invalid data. Any other exception is a bug: 500.
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
    OverflowError,
    ZeroDivisionError,
    struct.error,
    RuntimeError,  # and its subclasses, such as that for unsupported variants
)

# Cameras write one, or some for large blocks. Pillow copies all earlier ones for each: 10 MB take a minute.
MAX_EXIF_BLOCKS = 100
# Encoders write up to 20. Each takes 20 ms at 25 megapixels and at least 40 bytes: 10 MB take an hour.
MAX_SCANS = 100
# Maximum of scans times megapixels at full size, which a draft does not save: 2 seconds. Encoders reach 2000 with 100
# megapixels. Arithmetic coding takes 7 times as long, even for empty scans, and is hardly used.
MAX_SCAN_MEGAPIXELS, MAX_ARITHMETIC_SCAN_MEGAPIXELS = 2500, 350

# Advice for valid files in an unsupported variant of a format.
RESAVE = "Save the image as JPEG or 8-bit PNG."


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """Maximum pixels (width times height) to decode, and maximum pixels of the full size."""

    decoded: int
    hard: int


@dataclass(frozen=True, slots=True)
class Header:
    """Properties of an image before it is decoded.

    `size` is the size to decode, smaller than `full_size` for a JPEG in draft mode. `samples_per_pixel` counts a JPEG's
    colour samples at full size: 3 without chroma subsampling, 1.5 with 4:2:0.
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
    """A decoded image: `rgb` in sRGB, its own `alpha` (mode L, same size) or None, and its upright full size.

    `is_cut_out` means that the alpha is that of a subject without its background. `sample` is the whole image in the
    file's own colours as a small square, if it was requested and the image has a colour profile.
    """

    rgb: Image.Image
    alpha: Image.Image | None
    full_size: Size
    format: str
    is_cut_out: bool = False
    sample: Image.Image | None = None

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
    sample_side: int = 0,
) -> Photo:
    """Decode the first frame of an image, scaled down to at most `longest_side` px, never up.

    A larger JPEG may be returned with as few as `min_side` px, if decoding at that scale takes half the time. EXIF
    orientation is applied, colours are converted to sRGB, 8 bits per channel; with `sample_side` the photo gets a
    `sample` of that side. `approve` may raise to refuse an image by its header. Raise UnsupportedFormat,
    TooManyPixels (before any pixel is decoded) and CorruptImage.
    """
    name = _format_of(data)
    image, full_size, orientation = _load(data, name, min_side or longest_side, limits, approve)
    scaled = _shrink(colour.to_scalable(image), longest_side)
    if scaled is not image:
        image.close()  # it is in a reference cycle, and its pixels would outlive the request
    sample = _sample(scaled, orientation, sample_side) if sample_side and scaled.info.get("icc_profile") else None
    rgb, alpha = colour.to_srgb(scaled)
    if orientation in _SIDEWAYS:
        full_size = full_size[::-1]
    alpha = _upright(alpha, orientation) if alpha else None
    cut_out = alpha is not None and is_cut_out(alpha)
    return Photo(_upright(rgb, orientation), alpha, full_size, name, cut_out, sample)


def measure(data: bytes, limits: PixelLimits) -> Header:
    """Return the header of an image without decoding it; raise the same errors as `decode`."""
    name = _format_of(data)
    with _strict_pillow(limits.hard), _as_service_error(data, name, limits.hard):
        if name == "WEBP":
            _approve_webp(data, limits, lambda header: None)
        image = _open(data, name)
        return _header(image, name, image.size)


def _load(
    data: bytes, name: str, min_side: int, limits: PixelLimits, approve: Callable[[Header], None]
) -> tuple[Image.Image, Size, int]:
    """Return the decoded image (a JPEG scaled down in draft mode), its full size and its orientation."""
    with _strict_pillow(limits.hard), _as_service_error(data, name, limits.hard):
        if name == "WEBP":
            _approve_webp(data, limits, approve)
        image = _open(data, name)
        full_size = image.size
        if name == "JPEG":
            _check_scans(data, full_size)
        _check_pixels(image, min_side, limits.decoded)
        approve(_header(image, name, full_size))
        image = _loaded(image, data, name, min_side)
        if profile := code_points.profile_beside_icc(data, name, image.info):
            image.info["icc_profile"] = profile
        return _without_unused_alpha(image, name), full_size, _orientation(image)


def _loaded(image: Image.Image, data: bytes, name: str, min_side: int) -> Image.Image:
    """Return the loaded image; a JPEG may lack its end marker."""
    try:
        image.load()
    except OSError:
        if name != "JPEG":
            raise
        image.close()
        whole = load_unended(data, lambda ended: _draft(_open(ended, name), min_side))
        if whole is None:
            raise
        return whole
    return image


def _approve_webp(data: bytes, limits: PixelLimits, approve: Callable[[Header], None]) -> None:
    """Check the size in a WEBP's header before Pillow opens the file, since opening allocates whole canvases."""
    width, height, transparent = webp_canvas(data)
    if width * height > limits.decoded:
        raise _too_many(limits.decoded, f"The image has {width} x {height} pixels.")
    mode = "RGBA" if transparent else "RGB"
    approve(Header("WEBP", mode, (width, height), (width, height), transparent))


def _format_of(data: bytes) -> str:
    """Return the format of a supported image; raise UnsupportedFormat."""
    name = sniff(data)
    if name is None or not _can_read(name):
        raise UnsupportedFormat()
    if name == "TIFF" and (reason := tiff.refusal(data)):
        raise _unsupported(name, reason)
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
        import pillow_heif  # takes memory, and the service runs without it

        pillow_heif.register_heif_opener(thumbnails=False)
    if name == "PNG":
        data = png_chunks.mended(data)
    if name == "TIFF" and tiff.has_deep_planes(data):
        return _open_by_libtiff(data)
    return Image.open(io.BytesIO(data), formats=[name])


def _open_by_libtiff(data: bytes) -> Image.Image:
    """Open a TIFF whose pixels libtiff reads, also without compression."""
    TiffImagePlugin.READ_LIBTIFF = True
    try:
        return Image.open(io.BytesIO(data), formats=["TIFF"])
    finally:
        TiffImagePlugin.READ_LIBTIFF = False


def _check_jpeg(data: bytes) -> None:
    """Refuse a JPEG crafted to take minutes."""
    if data.count(exif.PREFIX) > MAX_EXIF_BLOCKS:
        raise CorruptImage(details="too many EXIF blocks")
    # The fast count includes matches by chance, such as in a video after the picture; it makes the slow one rare.
    if data.count(b"\xff\xda") > MAX_SCANS and count_scans(data) > MAX_SCANS:
        raise CorruptImage(details="too many scans")


def _check_scans(data: bytes, size: Size) -> None:
    """Refuse a JPEG with too many scans for its size; the fast count of scans comes first, see `_check_jpeg`."""
    megapixels = size[0] * size[1] / 1e6
    most = data.count(b"\xff\xda") * megapixels
    if most <= MAX_ARITHMETIC_SCAN_MEGAPIXELS:
        return
    limit = MAX_ARITHMETIC_SCAN_MEGAPIXELS if is_arithmetic(data) else MAX_SCAN_MEGAPIXELS
    if most > limit and (scans := count_scans(data)) * megapixels > limit:
        raise TooManyPixels(
            f"The JPEG has too many scans ({scans}) for its {size[0]} x {size[1]} pixels.",
            solution="Save the image as a baseline JPEG with Huffman coding, or scale it down.",
        )


def _check_pixels(image: Image.Image, min_side: int, max_pixels: int) -> None:
    """Refuse a too large image before decoding; scale a JPEG down by 2, 4 or 8 while it is decoded (draft mode)."""
    width, height = image.size
    _draft(image, min_side)
    if image.size[0] * image.size[1] > max_pixels:
        raise _too_many(max_pixels, f"The image has {width} x {height} pixels.")
    if _tile_pixels(image) > max_pixels:
        raise _too_many(max_pixels, "The image consists of tiles that are too large.")


def _draft(image: Image.Image, min_side: int) -> Image.Image:
    """Make a JPEG's decoder scale it down, never below the requested size, so that the last step is a filtered one."""
    image.draft(None, fit_within(image.size, min_side, min_side))
    return image


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels of a TIFF's tile, 0 without tiles: a tile is decoded whole, even if larger than the image."""
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


def _too_many(max_pixels: int, message: str = "") -> TooManyPixels:
    return TooManyPixels(message, solution=f"Send an image of at most {max_pixels / 1e6:g} megapixels.")


def _shrink(image: Image.Image, longest_side: int) -> Image.Image:
    size = fit_within(image.size, longest_side, longest_side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _sample(image: Image.Image, orientation: int, side: int) -> Image.Image:
    return resized(_upright(image.convert("RGB"), orientation), (side, side))


def _without_unused_alpha(image: Image.Image, name: str) -> Image.Image:
    """Return a bitmap as RGB if its alpha is 0 everywhere: most programs leave it empty and ignore it."""
    unused = name == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if unused else image


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8, 1 for an unreadable block."""
    block = image.info.get("exif")
    # Pillow ignores a whole block for one damaged entry; browsers do not.
    if isinstance(block, bytes) and (orientation := exif.orientation(block)) != 1:
        return orientation
    try:
        value = image.getexif().get(0x0112, 1)
    except DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSITIONS[orientation]) if orientation in _TRANSPOSITIONS else image


@contextmanager
def _strict_pillow(max_pixels: int) -> Iterator[None]:
    """Make Pillow's decompression-bomb warning, raised at reading a header, an error above `max_pixels`."""
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
def _as_service_error(data: bytes, name: str, max_pixels: int) -> Iterator[None]:
    """Convert Pillow's exceptions for invalid data, or for more than `max_pixels`, to service errors."""
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_many(max_pixels) from error
    except (UnidentifiedImageError, *DECODER_ERRORS) as error:
        if "memory" in str(error):  # message of Pillow's plugins for a failed allocation
            raise MemoryError(str(error)) from error
        log.info("decoder refused the image: %s: %s", type(error).__name__, error)
        if name == "JPEG" and (variant := unsupported_variant(data)):
            raise _unsupported(name, variant) from error
        raise CorruptImage() from error


def _unsupported(name: str, reason: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"This kind of {name} is not supported: {reason}.", solution=RESAVE)
