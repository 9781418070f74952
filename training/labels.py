"""Masks by a teacher for photos that have none."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.photos import SIDE, Damaged, Photo, Place, mask_square

__all__ = ["Teacher", "ensemble", "label", "labelled", "square"]

log = logging.getLogger(__name__)

# Returns the probabilities of an RGB image, float32 in 0..1, square.
Teacher = Callable[[Image.Image], NDArray[np.float32]]
REPORT_EVERY = 100


def ensemble(teachers: Sequence[Teacher]) -> Teacher:
    """Return a teacher whose masks are the means of those of all."""
    return lambda image: np.mean([square(teacher(image)) for teacher in teachers], axis=0, dtype=np.float32)


def square(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a mask of another size at that of the network's input, through grey levels as a label is."""
    if probabilities.shape == (SIDE, SIDE):
        return probabilities
    grey = Image.fromarray(np.rint(probabilities * 255).astype(np.uint8))
    return mask_square(grey).astype(np.float32) / np.float32(255)


def label(photos: Iterable[Photo], teacher: Teacher, folder: Path, check: Callable[[], None]) -> None:
    """Write the teacher's mask of each photo without one; labels that exist stay, damaged photos are reported."""
    missing = [photo for photo in photos if photo.mask is None and not _path(photo, folder).is_file()]
    for count, photo in enumerate(missing, 1):
        check()
        try:
            probabilities = teacher(photo.open_image())
        except Damaged as error:
            log.warning("%s skipped: %s", photo.key, error)
            continue
        _write(probabilities, _path(photo, folder))
        if count % REPORT_EVERY == 0 or count == len(missing):
            log.info("%d of %d photos labelled", count, len(missing))


def _path(photo: Photo, folder: Path) -> Path:
    return folder / photo.set_name / f"{photo.name}.png"


def _write(probabilities: NDArray[np.float32], path: Path) -> None:
    """Write a mask; it appears complete or not at all, so that a stopped run can go on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    Image.fromarray(np.rint(square(probabilities) * 255).astype(np.uint8)).save(temporary, "PNG")
    temporary.replace(path)


def labelled(photo: Photo, folder: Path) -> Photo:
    """Return the photo with its label as its mask, or unchanged if it has a mask or no label exists."""
    path = _path(photo, folder)
    if photo.mask is not None or not path.is_file():
        return photo
    return dataclasses.replace(photo, mask=Place(path, 0, path.stat().st_size))
