"""Photos and masks in folders and tars.

Each folder and each tar in the data folder is a set. `NAME.jpg` (or `.jpeg`, `.webp`) is a photo, `NAME.png` beside it
its mask: grey, 255 = subject.
"""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["SIDE", "Damaged", "Photo", "Place", "list_photos", "mask_square"]

log = logging.getLogger(__name__)

# Side in px of the network's input.
SIDE = 320
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".webp"}


class Damaged(Exception):
    """A file that cannot be used, with the reason."""


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a file: a file itself, or a part of an uncompressed tar."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the bytes of the file; raise Damaged."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise Damaged(f"cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a set, and its mask if it has one."""

    set_name: str
    name: str
    image: Place
    mask: Place | None = None

    @property
    def key(self) -> str:
        """Return the name by which messages and labels refer to the photo."""
        return f"{self.set_name}/{self.name}"

    def open_image(self) -> Image.Image:
        """Return the photo as RGB, upright; a large JPEG is reduced to twice the network's input. Raise Damaged."""
        return _decoded(self.image, "RGB")

    def open_mask(self) -> NDArray[np.uint8]:
        """Return the mask as SIDE × SIDE grey levels; raise Damaged, also if there is none."""
        if self.mask is None:
            raise Damaged("has no mask")
        return mask_square(_decoded(self.mask, "L"))


def _decoded(place: Place, mode: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(place.read()))
        image.draft(mode, (2 * SIDE, 2 * SIDE))
        return ImageOps.exif_transpose(image).convert(mode)
    except UnidentifiedImageError as error:
        raise Damaged("cannot be decoded: unknown format") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's, for damaged files
        raise Damaged(f"cannot be decoded: {error}") from error


def mask_square(mask: Image.Image) -> NDArray[np.uint8]:
    """Return a mask as SIDE × SIDE grey levels."""
    shrinks = mask.width > SIDE or mask.height > SIDE
    return np.asarray(mask.resize((SIDE, SIDE), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def list_photos(data: Path) -> list[Photo]:
    """Return the photos of all sets of a folder, sorted by set and name; report files without use."""
    photos: list[Photo] = []
    for entry in sorted(data.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            photos += _paired(entry.name, _files(entry))
        elif entry.suffix == ".tar":
            photos += _paired(entry.stem, _members(entry))
        elif ".tar." in entry.name or entry.suffix == ".tgz":
            log.warning("%s skipped: compressed tars are not supported; decompress it first", entry.name)
    return photos


def _files(folder: Path) -> Iterator[tuple[str, Place]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), Place(path, 0, path.stat().st_size)


def _members(path: Path) -> Iterator[tuple[str, Place]]:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile():
                    yield member.name.removeprefix("./"), Place(path, member.offset_data, member.size)
    except tarfile.ReadError as error:
        log.warning("%s is damaged; files after the damage are skipped: %s", path.name, error)


def _paired(set_name: str, files: Iterable[tuple[str, Place]]) -> list[Photo]:
    images: dict[str, Place] = {}
    masks: dict[str, Place] = {}
    for file_name, place in files:
        pure = PurePosixPath(file_name)
        if pure.is_absolute() or ".." in pure.parts:  # labels get the names of photos
            log.warning("%s/%s skipped: the name leads out of the set", set_name, file_name)
            continue
        stem, suffix = pure.with_suffix("").as_posix(), pure.suffix.lower()
        if suffix in PHOTO_SUFFIXES:
            images[stem] = place
        elif suffix == ".png":
            masks[stem] = place
    for stem in sorted(masks.keys() - images.keys()):
        log.warning("%s/%s.png skipped: a mask without a photo", set_name, stem)
    return [Photo(set_name, stem, images[stem], masks.get(stem)) for stem in sorted(images)]
