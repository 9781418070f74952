"""Result of each refinement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.morphology import disk, opening

from app.imaging.refine import Refiner, smooth_mask
from app.removal import RemovalOptions
from tests.support.synthetic_images import coarse, furry, model_mask

UNLIMITED = 10**9


def refined(photo: Any, mask: Any, room: int = UNLIMITED, **options: Any) -> tuple[Any, Any, float | None]:
    refiner = Refiner(RemovalOptions("lite", 2048, **options), room)
    colours, alpha = refiner(photo, mask)
    return colours, alpha, refiner.matting_scale


def test_a_smooth_mask_equals_rembgs() -> None:
    mask = model_mask(furry(300)[1])
    mask[20:22, 20:22] = 255
    expected = np.where(gaussian_filter(opening(mask, disk(1)).astype(np.float64), sigma=2) < 127, 0, 255)
    assert (smooth_mask(mask) != expected).mean() < 1e-4


def test_matting_reports_its_scale_which_is_smaller_with_less_memory() -> None:
    photo, truth = furry(900)
    scales = [refined(photo, coarse(truth), room, refine="matting")[2] for room in (UNLIMITED, 35 << 20)]
    assert scales[0] == 1
    assert scales[1] is not None
    assert 0.2 < scales[1] < 1


def test_matting_at_a_smaller_scale_finds_hair() -> None:
    photo, truth = furry(900)
    _, alpha, scale = refined(photo, coarse(truth), 35 << 20, refine="matting")
    _, edges, _ = refined(photo, coarse(truth), refine="edges")
    assert scale is not None
    assert np.abs(alpha / 255 - truth).mean() < np.abs(edges / 255 - truth).mean()


@pytest.mark.parametrize("fill", [0, 1])
def test_matting_without_an_unknown_area_keeps_the_mask(fill: int) -> None:
    _, alpha, scale = refined(furry(100)[0], np.full((320, 320), fill, np.float32), refine="matting")
    assert scale is None
    assert (alpha == 255 * fill).all()


def test_a_smooth_mask_has_no_half_transparent_pixels() -> None:
    photo, truth = furry(300)
    for refine in ("none", "edges"):
        _, alpha, _ = refined(photo, coarse(truth), refine=refine, smooth_mask=True)
        assert set(np.unique(alpha)) == {0, 255}


def test_colours_are_kept_on_request() -> None:
    photo, truth = furry(300)
    kept, alpha, _ = refined(photo, coarse(truth), refine="edges", keep_colours=True)
    cleaned, same, _ = refined(photo, coarse(truth), refine="edges")
    assert (kept == photo).all()
    assert (alpha == same).all()
    assert not (cleaned == photo).all()
