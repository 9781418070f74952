"""What each refinement makes of a mask, and colours and alpha at full size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.morphology import disk, opening

from app.imaging.foreground import enlarge_alpha, subject_colours
from app.imaging.refine import Refiner, smooth_mask
from app.removal import RemovalOptions
from tests.support.synthetic_images import coarse, composed, disc, furry, model_mask

RED, BLUE = (210, 30, 30), (30, 40, 200)
PLENTY = 10**9


def refined(photo: Any, mask: Any, room: int = PLENTY, **options: Any) -> tuple[Any, Any, float | None]:
    refiner = Refiner(RemovalOptions("lite", 2048, **options), room)
    colours, alpha = refiner(photo, mask)
    return colours, alpha, refiner.matting_scale


@pytest.mark.parametrize("softness", [1.0, 6.0])
def test_half_transparent_pixels_get_the_subject_s_colour(softness: float) -> None:
    truth = disc((400, 300), softness)
    colours = subject_colours(composed(truth, RED, BLUE), np.rint(truth * 255).astype(np.uint8))
    edge = (truth > 0.2) & (truth < 0.8)
    assert np.abs(colours[edge].astype(float) - RED).mean() < 12


def test_the_rest_of_the_photo_stays_as_it_is() -> None:
    photo, truth = furry(300)
    alpha = np.rint(truth * 255).astype(np.uint8)
    assert (subject_colours(photo, alpha)[alpha == 255] == photo[alpha == 255]).all()


def test_alpha_solved_on_a_smaller_photo_follows_the_large_one() -> None:
    photo, truth = furry(600)
    small = cv2.resize(np.rint(truth * 255).astype(np.uint8), (300, 300), interpolation=cv2.INTER_AREA)
    stretched = cv2.resize(small, (600, 600), interpolation=cv2.INTER_LINEAR)
    guided = enlarge_alpha(photo, np.asarray(small, np.uint8))
    assert np.abs(guided / 255 - truth).mean() < 0.8 * np.abs(stretched / 255 - truth).mean()


def test_a_smooth_mask_is_rembg_s() -> None:
    mask = model_mask(furry(300)[1])
    mask[20:22, 20:22] = 255
    expected = np.where(gaussian_filter(opening(mask, disk(1)).astype(np.float64), sigma=2) < 127, 0, 255)
    assert (smooth_mask(mask) != expected).mean() < 1e-4


def test_matting_names_its_scale_and_less_room_makes_it_smaller() -> None:
    photo, truth = furry(900)
    scales = [refined(photo, coarse(truth), room, refine="matting")[2] for room in (PLENTY, 35 << 20)]
    assert scales[0] == 1
    assert scales[1] is not None
    assert 0.2 < scales[1] < 1


def test_a_smaller_scale_still_finds_hair() -> None:
    photo, truth = furry(900)
    _, alpha, scale = refined(photo, coarse(truth), 35 << 20, refine="matting")
    _, edges, _ = refined(photo, coarse(truth), refine="edges")
    assert scale is not None
    assert np.abs(alpha / 255 - truth).mean() < np.abs(edges / 255 - truth).mean()


@pytest.mark.parametrize("fill", [0, 1])
def test_nothing_to_solve(fill: int) -> None:
    _, alpha, scale = refined(furry(100)[0], np.full((320, 320), fill, np.float32), refine="matting")
    assert scale is None
    assert (alpha == 255 * fill).all()


def test_a_smooth_mask_has_no_half_transparent_pixel() -> None:
    photo, truth = furry(300)
    for refine in ("none", "edges"):
        _, alpha, _ = refined(photo, coarse(truth), refine=refine, smooth_mask=True)
        assert set(np.unique(alpha)) == {0, 255}


def test_colours_are_kept_when_asked_for() -> None:
    photo, truth = furry(300)
    kept, alpha, _ = refined(photo, coarse(truth), refine="edges", keep_colours=True)
    cleaned, same, _ = refined(photo, coarse(truth), refine="edges")
    assert (kept == photo).all()
    assert (alpha == same).all()
    assert not (cleaned == photo).all()
