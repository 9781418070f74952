"""Alpha enlarged along the photo's edges, and the subject's own colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.imaging.foreground import enlarge_alpha, subject_colours
from app.imaging.geometry import Size
from tests.support.synthetic_images import composed, disc, furry, noise

RED, BLUE = (210, 30, 30), (30, 40, 200)


@pytest.mark.parametrize("softness", [1.0, 6.0])
def test_half_transparent_pixels_get_the_subjects_colour(softness: float) -> None:
    truth = disc((400, 300), softness)
    colours = subject_colours(composed(truth, RED, BLUE), np.rint(truth * 255).astype(np.uint8))
    edge = (truth > 0.2) & (truth < 0.8)
    assert np.abs(colours[edge].astype(float) - RED).mean() < 12


def test_opaque_pixels_are_unchanged() -> None:
    photo, truth = furry(300)
    alpha = np.rint(truth * 255).astype(np.uint8)
    assert (subject_colours(photo, alpha)[alpha == 255] == photo[alpha == 255]).all()


def test_an_enlarged_alpha_follows_the_photo() -> None:
    photo, truth = furry(600)
    small = cv2.resize(np.rint(truth * 255).astype(np.uint8), (300, 300), interpolation=cv2.INTER_AREA)
    stretched = cv2.resize(small, (600, 600), interpolation=cv2.INTER_LINEAR)
    guided = enlarge_alpha(photo, np.asarray(small, np.uint8))
    assert np.abs(guided / 255 - truth).mean() < 0.8 * np.abs(stretched / 255 - truth).mean()


@pytest.mark.parametrize("fill", [0, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (200, 130)])
def test_an_alpha_without_half_transparent_pixels_changes_nothing(size: Size, fill: int) -> None:
    photo = np.asarray(noise(size))
    small = np.full((max(1, size[1] // 2), max(1, size[0] // 2)), fill, np.uint8)
    alpha = enlarge_alpha(photo, small)
    assert (alpha == fill).all() and alpha.shape == photo.shape[:2]
    assert (subject_colours(photo, alpha) == photo).all()


def test_the_given_photo_is_not_changed() -> None:
    photo = np.asarray(noise((100, 80)))
    before = photo.copy()
    subject_colours(photo, np.full((80, 100), 128, np.uint8))
    assert (photo == before).all()
