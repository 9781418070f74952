"""Refinement of the model's coarse mask to colours and alpha at the photo's size, by the options."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.imaging import matte, matting
from app.imaging.foreground import enlarge_alpha, subject_colours
from app.imaging.reference import resized_mask
from app.removal import RemovalOptions

__all__ = ["Refiner", "keep", "smooth_mask"]

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

CROSS = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)


class Refiner:
    """Refiner of one photo; `matting_scale` is then the scale at which alpha was solved, None without matting."""

    def __init__(self, options: RemovalOptions, room: int) -> None:
        """Take the options, and the bytes of memory that refining may use."""
        self._options = options
        self._room = room
        self.matting_scale: float | None = None

    def __call__(self, photo: Bytes, probabilities: Plane) -> tuple[Bytes, Bytes]:
        """Return (colours, alpha), uint8, of a photo, uint8 (height, width, 3), and the model's mask in 0..1."""
        options = self._options
        if options.refine == "edges" and not (options.smooth_mask or options.reference_mask):
            colours, alpha = matte.refine_edges(photo, probabilities)
            return photo if options.keep_colours else colours, alpha
        enlarge = resized_mask if options.reference_mask else matte.upsample
        alpha = enlarge(probabilities, (photo.shape[1], photo.shape[0]))
        if options.smooth_mask:
            alpha = smooth_mask(alpha)
        if options.refine == "matting":
            alpha = self._matted(photo, alpha)
        if options.refine == "none" or options.keep_colours:
            return photo, alpha
        return subject_colours(photo, alpha), alpha

    def _matted(self, photo: Bytes, mask: Bytes) -> Bytes:
        """Return alpha solved at the maximum scale that fits; the mask itself if there is nothing to solve."""
        known = matting.draw_trimap(mask, self._options.trimap)
        if not matting.can_be_solved(known):
            return mask
        scale = matting.fitting_scale(known, self._room)
        self.matting_scale = round(scale, 2)
        if scale == 1:
            return matting.solve_alpha(photo, known, mask)
        return self._matted_small(photo, known, mask, scale)

    def _matted_small(self, photo: Bytes, known: Bytes, mask: Bytes, scale: float) -> Bytes:
        size = (max(3, int(photo.shape[1] * scale)), max(3, int(photo.shape[0] * scale)))
        small_photo, small_mask = (
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8) for plane in (photo, mask)
        )
        alpha = enlarge_alpha(photo, matting.solve_alpha(small_photo, matting.scale_trimap(known, size), small_mask))
        return np.where(known == matting.UNKNOWN, alpha, known)


def keep(photo: Bytes, probabilities: Plane) -> tuple[Bytes, Bytes]:
    """Return the photo's own colours and an opaque alpha: the refiner of images that are already cut out."""
    return photo, np.full(photo.shape[:2], 255, np.uint8)


def smooth_mask(mask: Bytes) -> Bytes:
    """Return a mask of 0 and 255 with a smooth border, without specks and hairs (rembg's post-processing)."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, CROSS)
    blurred = cv2.GaussianBlur(opened.astype(np.float32), (17, 17), 2, borderType=cv2.BORDER_REFLECT)
    return np.where(blurred < 127, np.uint8(0), np.uint8(255))
