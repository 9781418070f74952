"""Choice of the blend, on drawn masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.engine.cascade import Blend
from tests.support.photos import photo
from tools.choose_blend import MAX_SHARE, Sample, choose, mean_error, mean_iou, read_set, share

SIDE = 20


def mask(columns: int, probability: float = 1.0) -> NDArray[np.float32]:
    """Return a mask of the leftmost columns."""
    drawn = np.zeros((SIDE, SIDE), np.float32)
    drawn[:, :columns] = probability
    return drawn


TRUTH = mask(10) >= 0.5
SURE = Sample(mask(10, 0.99), mask(4), TRUTH)
UNSURE = Sample(mask(6, 0.7), mask(10), TRUTH)


def test_a_sure_photo_has_the_mask_of_the_first_model() -> None:
    assert SURE.predicted(Blend(0.9, 1, 1)) is SURE.first


def test_share_and_iou() -> None:
    samples = [SURE, UNSURE]
    assert (share(samples, 0.9), share(samples, 0.5)) == (0.5, 0)
    assert mean_iou(samples, None) == pytest.approx(0.8)
    assert mean_iou(samples, Blend(0.9, 1, 1)) == pytest.approx(1)
    assert mean_error([UNSURE], None) == pytest.approx(0.29)
    assert mean_error([UNSURE], Blend(0.9, 1, 1)) < 0.2


def test_the_choice_respects_the_share_and_improves_the_masks() -> None:
    sets = {"masked": [SURE] * 2 + [UNSURE], "photos": [Sample(SURE.first, SURE.second)] * 3}
    blend = choose(sets)
    assert all(share(each, blend.threshold) <= MAX_SHARE for each in sets.values())
    assert mean_iou(sets["masked"], blend) > mean_iou(sets["masked"], None)


def test_a_choice_that_makes_a_set_worse_is_impossible() -> None:
    worse = Sample(mask(10, 0.7), mask(1), TRUTH)
    better = [SURE] * 2 + [UNSURE]
    blend = choose({"better": better, "worse": [SURE] * 2 + [worse]})
    assert mean_iou([worse], blend) == 1


def test_a_folder_is_read_with_and_without_masks(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo("coffee").save(tmp_path / f"{name}.jpg")
    Image.new("L", photo("coffee").size, 255).save(tmp_path / "a.png")
    first, second = read_set(tmp_path)
    assert first.truth is not None and first.truth.all() and second.truth is None
    assert first.first.shape == first.second.shape == (320, 320)
