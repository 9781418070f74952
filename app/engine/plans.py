"""Working size of a photo, and composition of the answer: the photo itself, or a layout on a canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.engine.models import ModelSpec
from app.imaging.canvas import MAX_PIXELS, MAX_PNG_PIXELS, Layout, lay_out, region_of
from app.imaging.cutout import Cutout, Picture, finish, on_background
from app.imaging.decode import Photo
from app.imaging.geometry import Size, fit_pixels, fit_within, scale_box
from app.imaging.placing import is_opaque, place
from app.imaging.subject import SUBJECT, portrait_box, raw_box
from app.removal import Box, Canvas, OutputFormat, RemovalOptions

__all__ = ["CanvasPlan", "PhotoPlan", "Plan", "needed_side"]

Layers = tuple[Image.Image, Image.Image | None]
# Safety factor on the scale of the subject, whose box is known only on the model's grid at that point.
SCALE_MARGIN = 1.1
# Minimum share of the side to which a JPEG is decoded, so that its decoder can use one of its own scales.
MIN_SIDE_SHARE = 0.97
# Pixels, more than any photo has.
UNLIMITED = 1 << 60


class Plan(Protocol):
    """Sizes and composition of one answer; a side is the longer one, in px."""

    @property
    def side(self) -> int:
        """Return the maximum side to decode to."""

    @property
    def min_side(self) -> int:
        """Return the minimum side to decode to, for decoders that are faster at their own scales."""

    def background_side(self, photo: Photo) -> int:
        """Return the side to decode a background to."""

    def part(self, photo: Photo) -> Photo:
        """Return the part of the photo for the model; raise RoiExceedsBounds or RoiEmpty."""

    def at_output_scale(self, part: Photo, mask: NDArray[np.float32]) -> Layers:
        """Return the colours and alpha of the part, scaled down to the needs of the answer."""

    def finish(self, cutout: Cutout, photo: Photo, background: Image.Image | None) -> Picture:
        """Return the answer's picture."""

    def format(self, picture: Picture) -> OutputFormat:
        """Return the format of the answer."""

    def max_size(self, cutout: Cutout, photo: Photo) -> Size:
        """Return the size of the answer at the highest limit of pixels, (0, 0) without a canvas."""

    def is_limited(self, picture: Picture, cutout: Cutout, photo: Photo) -> bool:
        """Return whether the picture shows the photo smaller for another reason than the caller's bounds."""


def needed_side(size: Size, options: RemovalOptions, model: ModelSpec) -> int:
    """Return the longer side at which a photo of `size`, upright or not, must be processed for its answer."""
    if options.crop:
        return max(size)
    answers = (fit_within(turned, options.max_width, options.max_height) for turned in (size, size[::-1]))
    return max(2 * model.size, *map(max, answers))


@dataclass(frozen=True, slots=True)
class PhotoPlan:
    """Plan of an answer that is the photo, optionally cropped to the subject; `longest_side` bounds all sizes."""

    options: RemovalOptions
    model: ModelSpec

    @property
    def side(self) -> int:
        """Return the longest side, or less for a small answer.

        At least twice the model's input keeps the quality of the mask.
        """
        options = self.options
        if options.crop or options.max_width is None or options.max_height is None:
            return options.longest_side
        return min(options.longest_side, max(options.max_width, options.max_height, 2 * self.model.size))

    @property
    def min_side(self) -> int:
        """Return slightly less, so that photos of 4000 and 4032 px, as most phones take, are decoded at half scale.

        Sizes that the caller chose are exact.
        """
        options = self.options
        exact = options.full_size or options.max_width or options.max_height
        return self.side if exact else round(self.side * MIN_SIDE_SHARE)

    def background_side(self, photo: Photo) -> int:
        """Return the longest side."""
        return self.options.longest_side

    def part(self, photo: Photo) -> Photo:
        """Return the whole photo."""
        return photo

    def at_output_scale(self, part: Photo, mask: NDArray[np.float32]) -> Layers:
        """Scale down before cutting out, except for a crop, whose size is not known yet."""
        if self.options.crop:
            return part.rgb, part.alpha
        longest, bounds = self.options.longest_side, (self.options.max_width, self.options.max_height)
        width, height = (min(bound or longest, longest) for bound in bounds)
        return _scaled_down(part, fit_within(part.size, width, height))

    def finish(self, cutout: Cutout, photo: Photo, background: Image.Image | None) -> Picture:
        """Crop, scale down and add a background."""
        return finish(cutout, self.options, background)

    def format(self, picture: Picture) -> OutputFormat:
        """Return the requested format."""
        return self.options.format

    def max_size(self, cutout: Cutout, photo: Photo) -> Size:
        """Return (0, 0), since there is no canvas."""
        return 0, 0

    def is_limited(self, picture: Picture, cutout: Cutout, photo: Photo) -> bool:
        """Return whether the photo was scaled down, and the picture is smaller than the caller's bounds."""
        width, height = picture.image.size
        bounds = self.options.max_width or math.inf, self.options.max_height or math.inf
        return photo.size != photo.full_size and width < bounds[0] and height < bounds[1]


@dataclass(frozen=True, slots=True)
class CanvasPlan:
    """Plan of an answer on a canvas; `best_side` is the largest side that is predicted to fit into memory."""

    options: RemovalOptions
    canvas: Canvas
    model: ModelSpec
    header_size: Size
    best_side: int
    has_background: bool

    @property
    def side(self) -> int:
        """Return `best_side` if the subject may be a small part of the photo, else the side that the answer needs."""
        if self._by_subject or self.canvas.roi:
            return self.best_side
        if self.canvas.size:
            turned = (self.header_size, self.header_size[::-1])
            fitted = max(max(fit_within(size, *self.canvas.size)) for size in turned)
            return min(self.best_side, max(fitted, 2 * self.model.size))
        needed = max(fit_pixels(self.header_size, self._limited(self.canvas.max_pixels)))
        return min(self.best_side, max(needed, 2 * self.model.size))

    @property
    def min_side(self) -> int:
        """Return the same side: the size of an answer on a canvas is exact."""
        return self.side

    def background_side(self, photo: Photo) -> int:
        """Return the side that the largest answer may need."""
        if self.canvas.size:
            return max(self.canvas.size)
        return min(max(photo.size), 2 * math.isqrt(self.canvas.max_pixels))

    def part(self, photo: Photo) -> Photo:
        """Return the region of interest."""
        region = self._region(photo)
        if (region.width, region.height) == photo.full_size:
            return photo
        near = scale_box(region, photo.full_size, photo.size)
        box = (near.left, near.top, near.left + near.width, near.top + near.height)
        return replace(photo, rgb=photo.rgb.crop(box), alpha=photo.alpha.crop(box) if photo.alpha else None)

    def at_output_scale(self, part: Photo, mask: NDArray[np.float32]) -> Layers:
        """Scale down as far as the approximate box of the subject allows."""
        region = self._region(part)
        rows, columns = mask.shape
        found = raw_box(mask)
        if self.options.portrait:
            found = portrait_box(mask >= SUBJECT, found, region.width * rows / (region.height * columns))
        subject = self._in_photo(found, (columns, rows), region)
        layout = self._layout(part, subject, self.canvas.max_pixels)
        if not self._by_subject and not self.canvas.size:
            shown = scale_box(region, part.full_size, layout.size)
            return _scaled_down(part, (shown.width, shown.height))
        share = (SCALE_MARGIN if self._by_subject else 1) * layout.target.width / layout.source.width
        return _scaled_down(part, (math.ceil(region.width * share), math.ceil(region.height * share)))

    def finish(self, cutout: Cutout, photo: Photo, background: Image.Image | None) -> Picture:
        """Place the cut-out according to the layout, on its background."""
        layout = self._final_layout(cutout, photo, self.canvas.max_pixels)
        image = place(cutout.image, self._region(photo), layout)
        return Picture(on_background(image, self.options, background), layout.subject)

    def format(self, picture: Picture) -> OutputFormat:
        """Return PNG or JPEG for AUTO; a mask must be exact, so it is a PNG."""
        if self.options.format != "AUTO":
            return self.options.format
        return "JPEG" if is_opaque(picture.image) and not self.options.mask_only else "PNG"

    def max_size(self, cutout: Cutout, photo: Photo) -> Size:
        """Return the size of the answer at the highest limit of pixels."""
        return self._final_layout(cutout, photo, MAX_PIXELS).size

    def is_limited(self, picture: Picture, cutout: Cutout, photo: Photo) -> bool:
        """Return whether the picture is smaller than the photo, and than `max_pixels` under MAX_PIXELS."""
        if self.canvas.size:
            layout = self._final_layout(cutout, photo, self.canvas.max_pixels)
            return photo.size[0] + 1 < min(1, layout.target.width / layout.source.width) * photo.full_size[0]
        wanted = self.canvas.max_pixels if self.canvas.max_pixels < MAX_PIXELS else UNLIMITED
        subject = self._in_photo(cutout.subject, cutout.image.size, self._region(photo))
        full = lay_out(photo.full_size, self._region(photo), subject, self.options, max_pixels=wanted)
        return picture.image.width < full.size[0]

    @property
    def _by_subject(self) -> bool:
        """Return whether the scale of the answer depends on the size of the subject."""
        return self.options.crop or self.canvas.scale is not None

    def _limited(self, pixels: int) -> int:
        """Return a number of pixels, limited to the maximum of the answer's format."""
        background = self.options.background
        solid = self.has_background or (background is not None and background[3] == 255)
        png = self.options.format == "PNG" or (self.options.format == "AUTO" and (self.options.mask_only or not solid))
        return min(pixels, MAX_PNG_PIXELS) if png else pixels

    def _region(self, photo: Photo) -> Box:
        return region_of(self.canvas.roi, photo.full_size)

    def _in_photo(self, box: Box, size: Size, region: Box) -> Box:
        """Convert a box in an image of the region, which has this size, to px of the whole photo."""
        found = scale_box(box, size, (region.width, region.height))
        return replace(found, top=found.top + region.top, left=found.left + region.left) if found.width else found

    def _final_layout(self, cutout: Cutout, photo: Photo, max_pixels: int) -> Layout:
        subject = self._in_photo(cutout.subject, cutout.image.size, self._region(photo))
        return self._layout(photo, subject, max_pixels)

    def _layout(self, photo: Photo, subject: Box, max_pixels: int) -> Layout:
        frame = photo.full_size
        return lay_out(
            frame,
            self._region(photo),
            subject,
            self.options,
            max_pixels=self._limited(max_pixels),
            max_scale=min(1.0, self.best_side / max(frame)),
        )


def _scaled_down(photo: Photo, size: Size) -> Layers:
    if size == photo.size or size[0] > photo.size[0] or size[1] > photo.size[1]:
        return photo.rgb, photo.alpha
    if photo.alpha is None:
        return photo.rgb.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0), None
    image = photo.rgb.copy()
    image.putalpha(photo.alpha)  # as one image, so that hidden colours have no weight
    scaled = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return scaled.convert("RGB"), scaled.getchannel("A")
