"""Data of a training: sets for training and for validation, and backgrounds, without damaged and doubtful photos."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from training.catalogue import HUMAN, Facts, facts_of, read_facts
from training.labels import labelled
from training.photos import Damaged, Photo, list_photos
from training.samples import TrainingSet

__all__ = ["Data", "NamedSet", "assemble", "read_sets"]

log = logging.getLogger(__name__)

# Accepted shares of the photo that the subject covers, and of soft pixels in a teacher's mask in comparison with its
# subject: beyond, a teacher is usually wrong, and a person's mask is empty or full.
MIN_AREA = 0.004
MAX_AREA = {True: 0.97, False: 0.95}
MAX_SOFTNESS = 0.3
# Exponent by which large sets are drawn from less than in proportion to their size.
SIZE_EXPONENT = 0.85
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set with its facts, and its photos for training and validation."""

    name: str
    facts: Facts
    training: Sequence[Photo]
    validation: Sequence[Photo] = ()


@dataclass(frozen=True, slots=True)
class Data:
    """All data of a training."""

    sets: Sequence[NamedSet]
    backgrounds: Sequence[NamedSet]

    def training_sets(self) -> list[TrainingSet]:
        """Return the sets to draw samples from."""
        return [
            TrainingSet(one.training, one.facts.factor * len(one.training) ** SIZE_EXPONENT, one.facts.threshold)
            for one in self.sets
        ]

    def background_photos(self) -> list[Photo]:
        """Return the photos of all backgrounds."""
        return [photo for one in self.backgrounds for photo in one.training]

    def validation_sets(self) -> list[NamedSet]:
        """Return the sets that validate."""
        return [one for one in self.sets if one.validation]


def read_sets(folder: Path) -> list[NamedSet]:
    """Return all sets of a folder with their facts and undivided; raise UsageError for none, or two of a name."""
    facts = read_facts(folder)
    sets = []
    for (name, _packed), group in groupby(
        list_photos(folder), lambda photo: (photo.set_name, photo.image.path.suffix == ".tar")
    ):
        photos = list(group)
        sets.append(NamedSet(name, facts_of(name, facts, masked=any(photo.mask for photo in photos)), photos))
    if repeated := [name for name, count in Counter(one.name for one in sets).items() if count > 1]:
        raise click.UsageError(f"{folder} has a folder and a tar of the same name: {', '.join(repeated)}")
    if not sets:
        raise click.UsageError(f"{folder} has no folder and no tar with photos.")
    return sets


def assemble(sets: Sequence[NamedSet], labels: Path, cache: Path, check: Callable[[], None]) -> Data:
    """Add the labels, divide the sets, and leave out what is damaged or doubtful, with a report.

    Photos are divided before any is left out, so that a damaged one moves no other from validation to training.
    """
    sets = [dataclasses.replace(one, training=[labelled(photo, labels) for photo in one.training]) for one in sets]
    faults = _faults(sets, cache, check)
    subjects: list[NamedSet] = []
    backgrounds: list[NamedSet] = []
    for one in sets:
        training, validation = one.facts.split(one.training)
        usable = [[photo for photo in part if photo.key not in faults] for part in (training, validation)]
        divided = NamedSet(one.name, one.facts, *usable)
        (backgrounds if one.facts.background else subjects).append(divided)
    if not any(one.training for one in subjects):
        raise click.UsageError("No photo with a usable mask is left to train on.")
    return Data(subjects, backgrounds)


def _faults(sets: Sequence[NamedSet], cache: Path, check: Callable[[], None]) -> dict[str, str]:
    """Return the reason for each photo that is left out; read again from `cache` for the same files."""
    signature = _signature(sets)
    if cache.is_file():
        known = json.loads(cache.read_text("utf-8"))
        if known["signature"] == signature:
            return dict(known["faults"])
    faults = dict(_examined(sets, check))
    cache.write_text(json.dumps({"signature": signature, "faults": faults}, indent=1), "utf-8")
    for reason, count in Counter(faults.values()).items():
        named = [key for key, value in faults.items() if value == reason][:MAX_NAMED]
        log.warning("Photos skipped, %s (%d): %s%s", reason, count, ", ".join(named), ", …" * (count > MAX_NAMED))
    return faults


def _signature(sets: Sequence[NamedSet]) -> str:
    digest = hashlib.sha256()
    for one in sets:
        for photo in one.training:
            digest.update(repr((one.facts, photo, _changed(photo))).encode())
    return digest.hexdigest()


def _changed(photo: Photo) -> list[int]:
    return [place.path.stat().st_mtime_ns for place in (photo.image, photo.mask) if place is not None]


def _examined(sets: Iterable[NamedSet], check: Callable[[], None]) -> Iterator[tuple[str, str]]:
    for one in sets:
        human = one.facts.masks in HUMAN
        for photo in one.training:
            check()
            try:
                photo.open_image()
                fault = "" if one.facts.background else _fault(photo.open_mask(), human=human)
            except Damaged as error:
                fault = str(error)
            if fault:
                yield photo.key, fault


def _fault(mask: NDArray[np.uint8], *, human: bool) -> str:
    """Return why a mask is left out, or nothing."""
    area = float((mask > 127).mean())
    if area < MIN_AREA:
        return "the mask is empty or tiny"
    if area > MAX_AREA[human]:
        return "the mask covers all"
    softness = float(np.minimum(mask, 255 - mask).sum(dtype=np.int64)) / (255 * float((mask > 127).sum()))
    return "the teacher is unsure" if not human and softness > MAX_SOFTNESS else ""
