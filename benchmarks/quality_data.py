"""Photos with the truth for the benchmark of quality, written into folders: validation sets, and composites.

The data folder has one NAME.tar per set, with NNNNN.jpg and NNNNN.png (grey, 255 = subject).
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SETS", "Case", "PhotoSet", "make_cases"]

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos of the archive `source`, sorted by name; with `composed` their subjects on other backgrounds.

    `held_out` is the part without which the embedded models were trained. With `exact` the masks are true alpha, else
    they are softened by a pixel for composites.
    """

    name: str
    source: str
    held_out: slice
    composed: bool = False
    exact: bool = False

    @property
    def has_alpha(self) -> bool:
        """Return whether the truth is alpha rather than a mask."""
        return self.composed or self.exact


# The validation part in training/sets.toml; lite was trained on that of ccp-people.
EVERY_20TH = slice(None, None, 20)
SETS = (
    PhotoSet("pascal-s", "pascal-s", slice(-175, None)),
    PhotoSet("ccp-people", "ccp-people", slice(-100, None)),
    PhotoSet("msra1000", "msra1000", EVERY_20TH),
    PhotoSet("logos-drawn", "logos-drawn", EVERY_20TH, exact=True),
    PhotoSet("logos on photos", "logos-drawn", EVERY_20TH, composed=True, exact=True),
    PhotoSet("objects on photos", "msra1000", EVERY_20TH, composed=True),
)
BACKGROUNDS = ("bg-elementary", "bg-urban-scenes", "bg-rooms-phone")
BACKGROUNDS_OF_SET = 30


@dataclass(frozen=True, slots=True)
class Case:
    """A photo, RGB, its true alpha in 0..1, and the subject's true colours, None where they are unknown."""

    photo: Bytes
    truth: Plane
    colours: Plane | None = None


def make_cases(folder: Path, test: PhotoSet, count: int) -> list[Case]:
    """Return up to `count` cases of a set, evenly spread over its held-out photos.

    The case of a photo is the same each time, whatever the count.
    """
    pairs = _read(folder, test.source, test.held_out, count)
    if not test.composed:
        return [Case(photo, truth) for photo, truth in pairs.values()]
    last = slice(-BACKGROUNDS_OF_SET, None)
    backgrounds = [photo for name in BACKGROUNDS for photo, _ in _read(folder, name, last, BACKGROUNDS_OF_SET).values()]
    return [_composed(*pair, backgrounds[7 * number % len(backgrounds)], test) for number, pair in pairs.items()]


def _read(folder: Path, name: str, held_out: slice, count: int) -> dict[int, tuple[Bytes, Plane]]:
    """Return photos and masks by the photo's number among the held-out ones."""
    with tarfile.open(folder / f"{name}.tar") as archive:
        members = {member.name: member for member in archive if member.isfile()}
        photos = sorted(path for path in members if path.endswith(".jpg"))[held_out]
        chosen = range(0, len(photos), max(1, len(photos) // count))[:count]
        return {number: _pair(archive, photos[number], members) for number in chosen}


def _pair(
    archive: tarfile.TarFile, path: str, members: Sequence[str] | dict[str, tarfile.TarInfo]
) -> tuple[Bytes, Plane]:
    photo = np.asarray(_image(archive, path).convert("RGB"))
    mask = path.removesuffix(".jpg") + ".png"
    truth = np.asarray(_image(archive, mask).convert("L")) if mask in members else np.zeros(photo.shape[:2], np.uint8)
    return photo, truth * np.float32(1 / 255)


def _image(archive: tarfile.TarFile, path: str) -> Image.Image:
    file = archive.extractfile(path)
    assert file is not None  # noqa: S101  # a regular file
    return Image.open(io.BytesIO(file.read()))


def _composed(photo: Bytes, truth: Plane, background: Bytes, test: PhotoSet) -> Case:
    """Put a subject, with the colours of its opaque part, on a background."""
    if not test.exact:
        truth = np.asarray(cv2.GaussianBlur(truth, (0, 0), 1), np.float32)
    colours = _extended(photo, truth)
    height, width = truth.shape
    behind = cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    mixed = truth[..., None] * colours + (1 - truth[..., None]) * behind
    return Case(np.rint(mixed).astype(np.uint8), truth, colours)


def _extended(photo: Bytes, truth: Plane) -> Plane:
    """Return the photo with the nearest opaque colour, at least 2 px inside, in all other pixels."""
    inside = cv2.erode((truth > 0.98).astype(np.uint8), np.ones((5, 5), np.uint8))
    if not inside.any():
        inside = (truth >= truth.max()).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colour_of = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colour_of[labels[inside > 0]] = photo[inside > 0]
    return np.asarray(colour_of[labels], np.float32)
