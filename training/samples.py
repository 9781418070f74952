"""Training samples: photos with their masks, cropped, mirrored, recoloured, and composed on other backgrounds.

All randomness of a sample comes from the generator that it is given: a step's batch depends on the seed and the
number of the step alone, so that a resumed run sees the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engine.models import IMAGENET_MEAN, IMAGENET_STD
from training.photos import SIDE, Damaged, Photo

__all__ = ["Sampler", "TrainingSet"]

Planes = NDArray[np.float32]

CROP, COMPOSITE, ZOOM_OUT = 0.75, 0.15, 0.12
BLUR, NOISE, GREY = 0.1, 0.15, 0.08
# Side of the smallest crop, as a share of the photo's.
MIN_CROP = 0.6
# Subjects of a smaller share of the photo are not composed on backgrounds.
MIN_SUBJECT = 0.02


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Photos with masks, and how often one of them is drawn in comparison with those of other sets."""

    photos: Sequence[Photo]
    weight: float
    # Masks of several viewers: a pixel belongs to the subject for at least half of them.
    threshold: bool = False


class Sampler:
    """Draws batches."""

    def __init__(self, sets: Sequence[TrainingSet], backgrounds: Sequence[Photo], seed: int, batch: int) -> None:
        self._sets = [one for one in sets if one.photos]
        weights = np.array([one.weight for one in self._sets])
        self._shares = weights / weights.sum()
        self._backgrounds = backgrounds
        self._seed = seed
        self._batch = batch

    def batch(self, step: int, side: int) -> tuple[Planes, Planes]:
        """Return inputs (N, 3, side, side), normalised, and soft masks (N, 1, side, side) of a step."""
        random = np.random.default_rng((self._seed, step))
        samples = [self._sample(random, side) for _ in range(self._batch)]
        images = np.stack([_normalised(_recoloured(sample[..., :3], random)) for sample in samples])
        masks = np.stack([sample[None, ..., 3] for sample in samples])
        return images, np.clip(masks, 0, 1)  # resizing rounds 1 up

    def _sample(self, random: np.random.Generator, side: int) -> Planes:
        """Return RGB and mask, (side, side, 4), in 0..1."""
        chosen = self._sets[random.choice(len(self._sets), p=self._shares)]
        sample = _planes(chosen.photos[int(random.integers(len(chosen.photos)))], threshold=chosen.threshold)
        if random.random() < CROP:
            sample = _cropped(sample, random)
        sample = _resized(sample, side)
        if random.random() < 0.5:
            sample = sample[:, ::-1]
        kind = random.random()
        if kind < COMPOSITE and sample[..., 3].mean() > MIN_SUBJECT:
            return self._composed(sample, random)
        if kind > 1 - ZOOM_OUT:
            return _zoomed_out(sample, random)
        return sample

    def _composed(self, sample: Planes, random: np.random.Generator) -> Planes:
        """Return the subject on another background, half the time smaller and elsewhere."""
        if random.random() < 0.5:
            sample = _placed(sample, np.zeros_like(sample), random, 0.45)
        mask = sample[..., 3:]
        colours = sample[..., :3] * mask + self._background(random, sample.shape[0]) * (1 - mask)
        return np.concatenate([colours, mask], axis=2)

    def _background(self, random: np.random.Generator, side: int) -> Planes:
        if self._backgrounds and random.random() < 0.8:
            photo = self._backgrounds[int(random.integers(len(self._backgrounds)))]
            background = _resized(_pixels(photo), side)
            return background[:, ::-1] if random.random() < 0.5 else background
        colour = random.random(3) if random.random() < 0.7 else np.full(3, random.uniform(0.85, 1))
        return np.full((side, side, 3), colour, np.float32)


def _pixels(photo: Photo) -> Planes:
    try:
        return np.asarray(photo.open_image(), np.float32) / np.float32(255)
    except Damaged as error:  # the file has changed since it was examined
        raise Damaged(f"{photo.key} {error}") from error


def _planes(photo: Photo, *, threshold: bool) -> Planes:
    mask = photo.open_mask()
    soft = (mask >= 128).astype(np.float32) if threshold else mask.astype(np.float32) / np.float32(255)
    return np.concatenate([_resized(_pixels(photo), SIDE), soft[..., None]], axis=2)


def _resized(planes: Planes, side: int) -> Planes:
    shrinks = planes.shape[0] > side or planes.shape[1] > side
    return np.asarray(cv2.resize(planes, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _cropped(sample: Planes, random: np.random.Generator) -> Planes:
    """Return a part of the sample, or all of it where the part would lose most of the subject."""
    base = random.uniform(MIN_CROP, 1)
    height, width = (int(SIDE * base * random.uniform(0.85, 1)) for _ in range(2))
    top, left = random.integers(SIDE - height + 1), random.integers(SIDE - width + 1)
    part = sample[top : top + height, left : left + width]
    needed = 1.0 if height * width < 0.6 * SIDE * SIDE else 0.6
    return part if part[..., 3].mean() > 0.5 * needed * sample[..., 3].mean() else sample


def _zoomed_out(sample: Planes, random: np.random.Generator) -> Planes:
    """Return the whole sample, smaller, on a plain ground: a random colour, white, or that of its upper edge."""
    ground = np.zeros_like(sample)
    kind = random.random()
    ground[..., :3] = random.random(3) if kind < 0.4 else 1 if kind < 0.64 else sample[:2, :, :3].mean((0, 1))
    return _placed(sample, ground, random, 0.5)


def _placed(sample: Planes, ground: Planes, random: np.random.Generator, smallest: float) -> Planes:
    """Put the sample, smaller, anywhere on the ground."""
    side = sample.shape[0]
    small = int(side * random.uniform(smallest, 0.95))
    top, left = random.integers(side - small + 1, size=2)
    ground[top : top + small, left : left + small] = _resized(np.ascontiguousarray(sample), small)
    return ground


def _recoloured(image: Planes, random: np.random.Generator) -> Planes:
    """Return the image with another brightness, contrast, saturation and tint, at times blurred or noisy."""
    mean = image.mean()
    image = ((image - mean) * random.uniform(0.65, 1.35) + mean) * random.uniform(0.55, 1.4)
    grey = image.mean(axis=2, keepdims=True)
    saturation = 0.0 if random.random() < GREY else random.uniform(0.3, 1.5)
    image = np.clip((grey + (image - grey) * saturation) * random.uniform(0.92, 1.08, 3), 0, 1).astype(np.float32)
    if random.random() < BLUR:
        image = np.asarray(cv2.blur(image, (3, 3)))
    if random.random() < NOISE:
        image = np.clip(image + random.standard_normal(image.shape, np.float32) * np.float32(0.03), 0, 1)
    return image


def _normalised(image: Planes) -> Planes:
    """Return the network's input, (3, side, side): U2-Net's preprocessing."""
    image = image / max(float(image.max()), 1e-3)
    normal = (image - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)
