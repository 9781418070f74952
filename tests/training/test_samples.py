"""Samples: the same for the same step, normalised, with masks that follow the photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.engine.models import IMAGENET_MEAN, IMAGENET_STD
from tests.support.drawn_photos import SIZE, write_set
from training.photos import list_photos
from training.samples import Sampler, TrainingSet


@pytest.fixture
def sampler(data: Path) -> Sampler:
    write_set(data / "some", 4)
    write_set(data / "background", 2, masks=False)
    photos = list_photos(data)
    return Sampler([TrainingSet(photos[2:], 1.0)], photos[:2], seed=3, batch=8)


def test_a_batch_depends_on_the_step_alone(sampler: Sampler) -> None:
    first, again, other = (sampler.batch(step, 64) for step in (5, 5, 6))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_images_are_normalised_and_masks_probabilities(sampler: Sampler) -> None:
    mean, std = (np.array(value, np.float32).reshape(3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))
    for step in range(6):
        images, masks = sampler.batch(step, 64)
        pixels = images * std + mean
        assert (images.shape, masks.shape) == ((8, 3, 64, 64), (8, 1, 64, 64))
        assert images.dtype == masks.dtype == np.float32
        assert pixels.min() > -1e-5
        assert pixels.max(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-5)
        assert 0 <= masks.min() <= masks.max() <= 1


def test_masks_follow_the_subject(sampler: Sampler) -> None:
    """Drawn subjects are brighter than their grounds, unless composed on another or a plain one."""
    brighter = []
    for step in range(10):
        for image, mask in zip(*sampler.batch(step, 64), strict=True):
            grey = image.mean(axis=0)
            inside, outside = mask[0] > 0.9, mask[0] < 0.1
            brighter.append(inside.any() and outside.any() and grey[inside].mean() > grey[outside].mean())
    assert np.mean(brighter) > 0.8


def test_a_set_with_more_weight_is_drawn_from_more_often(data: Path) -> None:
    for name, level in (("rare", 60), ("often", 250)):
        (data / name).mkdir()
        Image.new("RGB", SIZE, (level, level, 10)).save(data / name / "1.jpg")
        Image.new("L", SIZE, level).save(data / name / "1.png")
    often, rare = list_photos(data)
    sampler = Sampler([TrainingSet([often], 9.0), TrainingSet([rare], 1.0)], [], seed=1, batch=8)
    levels = np.concatenate([sampler.batch(step, 32)[1].max(axis=(1, 2, 3)) for step in range(10)])
    assert 0.75 < np.mean(levels > 0.5) < 1
