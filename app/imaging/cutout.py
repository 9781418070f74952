"""Cut-out from photo and mask: crop, scale down, new background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.backdrop import gradient
from app.imaging.geometry import Size, cover_box, fit_within, grow_box, scale_box
from app.imaging.own_alpha import without_hidden_colours
from app.imaging.placing import scaled
from app.imaging.subject import VISIBLE, portrait_box, raw_box, visible_box
from app.removal import RGBA, Blur, Box, Gradient, RemovalOptions

__all__ = ["WHITE", "Cutout", "Picture", "cut_out", "extend_colours", "finish", "on_background", "on_colour"]

WHITE: RGBA = (255, 255, 255, 255)
# Rows processed in floats at once.
STRIP = 128
# Px by which the colours of the subject are extended.
RADIUS = 8


@dataclass(frozen=True, slots=True)
class Cutout:
    """The subject at working size: RGBA with colours cleared under alpha 0, and the box of its visible part."""

    image: Image.Image
    subject: Box


@dataclass(frozen=True, slots=True)
class Picture:
    """Image to encode: RGBA, RGB, or L for a mask; `subject` in px of the image."""

    image: Image.Image
    subject: Box


def cut_out(
    rgb: Image.Image,
    own_alpha: Image.Image | None,
    probabilities: NDArray[np.float32],
    refine: Callable[[NDArray[np.uint8], NDArray[np.float32]], tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    *,
    portrait: bool = False,
) -> Cutout:
    """Cut the subject out of an RGB image of any size.

    `probabilities` is the model's output, float32 in 0..1 on its grid; `refine` returns colours and alpha of the
    photo's size from the photo and the probabilities. The photo's `own_alpha` (L, same size) is multiplied in; colours
    under its alpha 0 are not used. The subject of a `portrait` is head and shoulders.
    """
    photo = np.asarray(without_hidden_colours(rgb, own_alpha) if own_alpha else rgb)
    colours, alpha = refine(photo, probabilities)
    if own_alpha is not None:
        alpha = np.asarray(cv2.multiply(alpha, np.asarray(own_alpha), scale=1 / 255), np.uint8)
    grid = (probabilities.shape[1], probabilities.shape[0])
    subject = visible_box(alpha, raw_box(probabilities), grid)
    if portrait:
        subject = portrait_box(alpha >= VISIBLE, subject)
    return Cutout(Image.fromarray(_joined(colours, alpha), "RGBA"), subject)


def finish(cutout: Cutout, options: RemovalOptions, background_image: Image.Image | None = None) -> Picture:
    """Crop, scale down and add the background of the options; `background_image` (RGB) replaces a colour."""
    image, subject = cutout.image, cutout.subject
    if options.crop and subject.width:
        box = grow_box(subject, options.crop_margin, image.size)
        if background_image is not None and isinstance(options.backdrop, Blur):  # it shows the photo itself
            background_image = _part(background_image, scale_box(box, image.size, background_image.size))
        image = _part(image, box)
        subject = Box(subject.top - box.top, subject.left - box.left, subject.width, subject.height)
    size = fit_within(image.size, options.max_width, options.max_height)
    if size != image.size:
        subject = scale_box(subject, image.size, size)
        image = scaled(image, size)
    return Picture(on_background(image, options, background_image), subject)


def on_background(
    image: Image.Image, options: RemovalOptions, background_image: Image.Image | None = None
) -> Image.Image:
    """Return an RGBA cut-out on the background of the options, or its mask."""
    if options.mask_only:
        return image.getchannel("A")
    if background_image is not None:
        return _flatten(image, _cover(background_image, image.size))
    if isinstance(options.backdrop, Gradient):
        return _on_image(image, gradient(image.size, options.backdrop), options)
    colour = _background_colour(options)
    return on_colour(image, colour) if colour else image


def extend_colours(image: Image.Image) -> Image.Image:
    """Return the colours of an RGBA image as RGB, with the subject's extended by RADIUS px, white beyond.

    So no background colour bleeds into half-transparent pixels of a JPEG.
    """
    rgba = np.asarray(image)
    height = rgba.shape[0]
    colours = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, height, STRIP):  # in strips, since whole planes of floats would take 16 bytes per pixel
        first, last = max(0, top - RADIUS), min(height, top + STRIP + RADIUS)
        strip = _extended(rgba[first:last])
        colours[top : top + STRIP] = strip[top - first : top - first + STRIP]
    return Image.fromarray(colours, "RGB")


def _extended(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill transparent pixels with the mean of the visible colours within RADIUS px, white if there are none."""
    opaque = (rgba[..., 3] > 0).view(np.uint8)
    side = (2 * RADIUS + 1, 2 * RADIUS + 1)
    visible = cv2.cvtColor(cv2.bitwise_and(rgba, rgba, mask=opaque), cv2.COLOR_RGBA2RGB)
    sums = cv2.boxFilter(visible, cv2.CV_32F, side, normalize=False)
    counts = cv2.boxFilter(opaque, cv2.CV_32F, side, normalize=False)
    clear = opaque - np.uint8(1)  # 255 in transparent pixels
    colours = np.asarray(cv2.bitwise_or(visible, cv2.merge([clear, clear, clear])), np.uint8)
    near = (opaque == 0) & (counts > 0.5)
    colours[near] = np.rint(sums[near] / counts[near, None])
    return colours


def _joined(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGBA, all 0 where alpha is 0."""
    rgba = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA), np.uint8)
    cv2.insertChannel(alpha, rgba, 3)
    rgba.view(np.uint32)[..., 0] *= alpha > 0  # a pixel at a time
    return rgba


def _part(image: Image.Image, box: Box) -> Image.Image:
    return image.crop((box.left, box.top, box.left + box.width, box.top + box.height))


def _background_colour(options: RemovalOptions) -> RGBA | None:
    """Return the background colour, None if it is fully transparent; JPEG always has one."""
    if options.background and options.background[3]:
        return options.background
    return WHITE if options.format == "JPEG" else None


def on_colour(image: Image.Image, colour: RGBA) -> Image.Image:
    """Return an RGBA image on a colour; it stays RGBA only if the colour is not opaque."""
    if colour[3] == 255:
        return _flatten(image, Image.new("RGB", image.size, colour[:3]))
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), image)


def _on_image(image: Image.Image, background: Image.Image, options: RemovalOptions) -> Image.Image:
    """Put the image on a background of its size, which may be transparent."""
    if background.mode == "RGB":
        return _flatten(image, background)
    mixed = Image.alpha_composite(background, image)
    return on_colour(mixed, WHITE) if options.format == "JPEG" else mixed


def _flatten(image: Image.Image, background: Image.Image) -> Image.Image:
    background.paste(image, (0, 0), image)
    return background


def _cover(background: Image.Image, size: Size) -> Image.Image:
    """Scale an image to fill `size`, centred."""
    box = cover_box(background.size, size)
    return background.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)
