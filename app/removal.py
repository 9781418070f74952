"""Description of a removal: one photo, what to do with it, and the result. Plain frozen data, standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "NO_MARGIN",
    "RGBA",
    "Box",
    "Canvas",
    "Length",
    "Lengths",
    "OutputFormat",
    "Refinement",
    "RemovalOptions",
    "RemovalRequest",
    "RemovalResult",
    "Trimap",
]

OutputFormat = Literal["PNG", "JPEG", "WEBP", "ZIP", "AUTO"]
Refinement = Literal["none", "edges", "matting"]
RGBA = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Length:
    """A length in px, or in percent of what it is measured against."""

    value: float
    unit: Literal["px", "%"] = "px"


Lengths = tuple[Length, Length, Length, Length]
NO_MARGIN: Lengths = (Length(0), Length(0), Length(0), Length(0))


@dataclass(frozen=True, slots=True)
class Canvas:
    """Layout of an answer that places the subject on a canvas.

    `max_pixels` bounds its width times height. `roi` is left, top, right and bottom of the part of the photo that may
    be subject, None for all of it. `scale` is the subject's size in the canvas, 0..1, None for as it is. `position` is
    where the subject lies (x, y), 0 for left and top, 1 for right and bottom, None for where it was.
    """

    max_pixels: int
    roi: Lengths | None = None
    scale: float | None = None
    position: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Trimap:
    """Where alpha matting takes the model's mask (0..255) for granted: above `foreground` and below `background`.

    But not along the borders of these, where squares of `erode` px do not fit in.
    """

    foreground: int = 240
    background: int = 10
    erode: int = 10


@dataclass(frozen=True, slots=True)
class RemovalOptions:
    """What the caller wants, parsed and checked.

    `longest_side` bounds the working size, `max_width` and `max_height` the answer, all in px. `background` is RGBA,
    each 0..255, None for transparent. `crop_margin` is top, right, bottom, left; percentages are of the subject's box.
    With a `canvas` the answer may have more than `longest_side` px, a margin may reach beyond the photo, and the format
    AUTO is JPEG where nothing is transparent, else PNG. `trimap` is for `matting`. `smooth_mask` asks
    for a mask without half-transparent pixels, `keep_colours` for the photo's own colours along the edge.
    """

    model: str
    longest_side: int
    format: OutputFormat = "PNG"
    quality: int = 85
    max_width: int | None = None
    max_height: int | None = None
    background: RGBA | None = None
    mask_only: bool = False
    crop: bool = False
    crop_margin: Lengths = NO_MARGIN
    refine: Refinement = "edges"
    require_foreground: bool = False
    canvas: Canvas | None = None
    trimap: Trimap = Trimap()
    smooth_mask: bool = False
    keep_colours: bool = False


@dataclass(frozen=True, slots=True)
class RemovalRequest:
    """One photo and what to do with it; the images as encoded bytes, `background_image` empty for none."""

    image: bytes = field(repr=False)
    options: RemovalOptions
    background_image: bytes = field(default=b"", repr=False)
    request_id: str = "-"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in px; all zeros when there is no subject."""

    top: int = 0
    left: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """The answer: an encoded image and what is known of it.

    `foreground` lies in the answer's own pixels. `confidence` is 0..1, under 0.5 when no subject was seen.
    `stages_ms` holds the milliseconds of each stage by name, `stages_mb` the engine's resident MB after it.
    `input_size` is the (width, height) of the photo as it was sent, `max_size` the largest that the answer could have
    had, where a canvas was asked for. `matting_scale` is the scale at which alpha was solved for, None if it was not.
    `cache` says whether the result was found in the result cache, empty without one.
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
    matting_scale: float | None = None
    cache: Literal["", "hit", "miss"] = ""
