"""Description of a removal: request, options, result. Plain frozen data, standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = [
    "MIN_CONFIDENCE",
    "NO_MARGIN",
    "RGBA",
    "Blur",
    "Box",
    "Canvas",
    "Gradient",
    "Length",
    "Lengths",
    "OutputFormat",
    "Refinement",
    "RemovalOptions",
    "RemovalRequest",
    "RemovalResult",
    "Trimap",
]

OutputFormat = Literal["PNG", "JPEG", "WEBP", "AVIF", "ZIP", "AUTO"]
Refinement = Literal["none", "edges", "matting"]
RGBA = tuple[int, int, int, int]
# Least confidence in a subject. Pictures of one colour reach 0.54 with `lite` and `auto`, noise 0.57; the least of 342
# validation photos that are not entirely wrong is 0.61.
MIN_CONFIDENCE = 0.58


@dataclass(frozen=True, slots=True)
class Length:
    """A length in px, or in percent of a reference length."""

    value: float
    unit: Literal["px", "%"] = "px"


Lengths = tuple[Length, Length, Length, Length]
NO_MARGIN: Lengths = (Length(0), Length(0), Length(0), Length(0))


@dataclass(frozen=True, slots=True)
class Canvas:
    """Canvas on which an answer places the subject.

    `size` is its width and height in px; without it the canvas is the photo or the crop, of at most `max_pixels`. `roi`
    is left, top, right and bottom of the part of the photo that may contain the subject, None for all of it. `scale`
    is the subject's size in the canvas, 0..1, None for unchanged, or for the photo fitted into `size`. `position` is
    the place (x, y) of the subject, or of the fitted photo: 0 for left and top, 1 for right and bottom, None for
    unchanged.
    """

    max_pixels: int
    roi: Lengths | None = None
    scale: float | None = None
    position: tuple[float, float] | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo's own background, blurred; `strength` is the standard deviation in thousandths of the longer side."""

    strength: int


@dataclass(frozen=True, slots=True)
class Gradient:
    """A linear gradient of two colours; `angle` is in degrees as in CSS: 0 upwards, 90 to the right, 180 downwards."""

    start: RGBA
    end: RGBA
    angle: int = 180


@dataclass(frozen=True, slots=True)
class Trimap:
    """Parameters of the trimap: the mask (0..255) is certain above `foreground` and below `background`.

    Both areas are eroded by a square of `erode` px.
    """

    foreground: int = 240
    background: int = 10
    erode: int = 10


@dataclass(frozen=True, slots=True)
class RemovalOptions:
    """Options of a removal, parsed and checked.

    `longest_side` limits the working size, `max_width` and `max_height` the answer, all in px; with `full_size` only
    the engine's memory limits the working size. `background` is RGBA, each 0..255, None for transparent. `crop_margin`
    is top, right, bottom, left; percentages are of the subject's box. With `portrait` a crop shows head and shoulders
    of a standing person. A `backdrop` replaces the colour. With a `canvas` a margin may extend beyond the photo, and
    the format AUTO is JPEG if nothing is transparent, else PNG.
    `trimap` is for `matting`. `clean_mask` requests a mask without specks and pinholes, `smooth_mask` a mask without
    half-transparent pixels, `keep_colours` the photo's own colours along the edge. `reference_mask` requests, of
    one of rembg's models, the mask that rembg computes, byte for byte on a CPU, instead of one that follows the edges.
    """

    model: str
    longest_side: int
    full_size: bool = False
    format: OutputFormat = "PNG"
    quality: int = 85
    max_width: int | None = None
    max_height: int | None = None
    background: RGBA | None = None
    backdrop: Blur | Gradient | None = None
    mask_only: bool = False
    crop: bool = False
    crop_margin: Lengths = NO_MARGIN
    portrait: bool = False
    refine: Refinement = "edges"
    require_foreground: bool = False
    canvas: Canvas | None = None
    trimap: Trimap = Trimap()
    clean_mask: bool = False
    smooth_mask: bool = False
    keep_colours: bool = False
    reference_mask: bool = False


@dataclass(frozen=True, slots=True)
class RemovalRequest:
    """A photo and its options; the images are encoded bytes, `background_image` is empty for none.

    `more_options` are those of further results of the same photo.
    """

    image: bytes = field(repr=False)
    options: RemovalOptions
    background_image: bytes = field(default=b"", repr=False)
    request_id: str = "-"
    more_options: tuple[RemovalOptions, ...] = ()

    @property
    def all_options(self) -> tuple[RemovalOptions, ...]:
        """Return the options of all results."""
        return self.options, *self.more_options

    @property
    def singles(self) -> tuple[RemovalRequest, ...]:
        """Return a request for each result."""
        return tuple(replace(self, options=options, more_options=()) for options in self.all_options)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in px; all zeros for no subject."""

    top: int = 0
    left: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """The answer: an encoded image and its properties.

    `foreground` is in px of the answer. `confidence` is 0..1, under MIN_CONFIDENCE if no subject was found. `model`
    names the models that were used, joined by "+". `stages_ms` holds the milliseconds of each stage by name,
    `stages_mb` the engine's resident MB after it. `input_size` is the (width, height) of the photo as sent,
    `max_size` the maximum size of the answer with a canvas. `scaled_down` means that the answer shows the photo
    smaller for another reason than the caller's own bounds. `matting_scale` is the scale at which alpha was solved,
    None without matting. `under_load` means that the second model of a cascade was left out because of the load.
    `cache` is the outcome of the look-up in the result cache, empty without a cache.
    """

    body: bytes = field(repr=False)
    mimetype: str
    width: int
    height: int
    foreground: Box
    confidence: float
    model: str
    stages_ms: dict[str, float]
    stages_mb: dict[str, int] = field(default_factory=dict)
    input_size: tuple[int, int] = (0, 0)
    max_size: tuple[int, int] = (0, 0)
    scaled_down: bool = False
    matting_scale: float | None = None
    under_load: bool = False
    cache: Literal["", "hit", "miss"] = ""
