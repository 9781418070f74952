"""What crosses the wall between the web process and an engine: plain frozen data, standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = [
    "EXIT_MEMORY",
    "EXIT_TASKS",
    "NO_MARGIN",
    "RECYCLED",
    "Box",
    "Canvas",
    "EngineConfig",
    "Length",
    "Lengths",
    "RemovalOptions",
    "RemovalRequest",
    "RemovalResult",
    "Trimap",
]

# How an engine ends that has worked enough, or keeps too much memory: it is replaced without a word.
EXIT_TASKS, EXIT_MEMORY = 3, 4
RECYCLED = (EXIT_TASKS, EXIT_MEMORY)

OutputFormat = Literal["PNG", "JPEG", "WEBP", "ZIP", "AUTO"]
Refinement = Literal["none", "edges", "matting"]
RGBA = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The settings of an engine process; counts of pixels are width times height.

    `threads` infer while other engines are at work, `threads_alone` while none is, 0 for as many (light models only).
    `memory_mb` caps its resident memory; past `memory_warn_mb` between two photos, or after `max_tasks` photos, it ends
    and is replaced. `faults` lets tests make it hang, crash or eat memory.
    """

    model: str
    threads: int
    max_pixels: int
    max_pixels_hard: int
    threads_alone: int = 0
    memory_mb: int = 1024
    memory_warn_mb: int = 820
    max_tasks: int = 1000
    rembg_home: str = ""
    log_level: str = "INFO"
    log_format: str = "text"
    log_file: str = ""
    faults: bool = False


@dataclass(frozen=True, slots=True)
class Length:
    """A length in px, or in percent of what it is measured against."""

    value: float
    unit: Literal["px", "%"] = "px"


NO_MARGIN = (Length(0), Length(0), Length(0), Length(0))


Lengths = tuple[Length, Length, Length, Length]


@dataclass(frozen=True, slots=True)
class Canvas:
    """How remove.bg's dialect lays the answer out.

    `most_pixels` bounds its width times height. `roi` is left, top, right and bottom of the part of the photo that may
    be subject, None for all of it. `scale` is the subject's size in the canvas, 0..1, None for as it is. `position` is
    where the subject lies (x, y), 0 for left and top, 1 for right and bottom, None for where it was.
    """

    most_pixels: int
    roi: Lengths | None = None
    scale: float | None = None
    position: tuple[float, float] | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Canvas:
        """Rebuild the canvas from `dataclasses.asdict` after a trip through JSON."""
        roi, position = data["roi"], data["position"]
        return cls(
            data["most_pixels"],
            tuple(Length(**edge) for edge in roi) if roi is not None else None,  # type: ignore[arg-type]
            data["scale"],
            tuple(position) if position is not None else None,
        )


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
    AUTO is JPEG where nothing is transparent, else PNG. `trimap` is for `matting`. rembg's dialect may ask for
    a `smooth_mask` without half-transparent pixels, and to `keep_colours` along the edge as they are in the photo.
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
    on_error: Literal["fail", "original"] = "fail"
    require_foreground: bool = False
    save: bool = False
    canvas: Canvas | None = None
    trimap: Trimap = Trimap()
    smooth_mask: bool = False
    keep_colours: bool = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RemovalOptions:
        """Rebuild the options from `dataclasses.asdict` after a trip through JSON."""
        background, canvas = data["background"], data["canvas"]
        return cls(
            **data
            | {
                "background": tuple(background) if background is not None else None,
                "crop_margin": tuple(Length(**side) for side in data["crop_margin"]),
                "canvas": Canvas.from_dict(canvas) if canvas is not None else None,
                "trimap": Trimap(**data["trimap"]),
            }
        )


@dataclass(frozen=True, slots=True)
class RemovalRequest:
    """One photo and what to do with it; the images as encoded bytes, `background_image` empty for none."""

    image: bytes = field(repr=False)
    options: RemovalOptions
    background_image: bytes = field(default=b"", repr=False)
    request_id: str = "-"

    def header(self) -> dict[str, Any]:
        """Return everything but the images, ready for JSON."""
        return {"op": "remove", "options": asdict(self.options), "request_id": self.request_id}

    @classmethod
    def from_wire(cls, header: dict[str, Any], blobs: list[bytes]) -> RemovalRequest:
        """Rebuild a request from its header and its two blobs."""
        image, background_image = blobs
        options = RemovalOptions.from_dict(header["options"])
        return cls(image, options, background_image, header["request_id"])


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

    def header(self) -> dict[str, Any]:
        """Return everything but the body, ready for JSON."""
        header = asdict(self)
        del header["body"]
        return header

    @classmethod
    def from_wire(cls, header: dict[str, Any], blobs: list[bytes]) -> RemovalResult:
        """Rebuild a result from its header and its one blob."""
        (body,) = blobs
        sizes = {name: tuple(header[name]) for name in ("input_size", "max_size")}
        return cls(body=body, **header | sizes | {"foreground": Box(**header["foreground"])})
