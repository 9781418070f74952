"""Refined edges, without the old background's colour."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.imaging.geometry import Size
from app.imaging.matte import refine_edges, upsample
from tests.support.synthetic_images import coarse, composed, disc, noise

RED, BLUE = (210, 30, 30), (30, 40, 200)
SIZES = [(1, 1), (1, 2048), (2048, 1), (3, 2), (100, 75), (640, 640), (1500, 1000)]
GRAIN = 8


def grainy(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the photo with the noise of a camera."""
    grain = np.random.default_rng(1).integers(-GRAIN, GRAIN + 1, photo.shape)
    return np.asarray(np.clip(photo + grain, 0, 255), np.uint8)


def mean_error(alpha: NDArray[np.uint8], truth: NDArray[np.float32]) -> float:
    """Return the mean error of alpha."""
    return float(np.abs(alpha / 255 - truth).mean())


def half_transparent(alpha: NDArray[np.uint8]) -> int:
    return int(((alpha > 25) & (alpha < 230)).sum())


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("size", [(100, 75), (400, 300), (1000, 750), (600, 900)])
def test_a_refined_edge_is_closer_to_the_truth(size: Size, shift: int) -> None:
    truth = disc(size)
    mask = coarse(truth, shift)
    _, alpha = refine_edges(grainy(composed(truth, RED, BLUE)), mask)
    assert mean_error(alpha, truth) < 0.8 * mean_error(upsample(mask, size), truth)


@pytest.mark.parametrize("size", [(400, 300), (1000, 750)])
def test_a_refined_edge_is_sharper(size: Size) -> None:
    truth = disc(size)
    mask = coarse(truth)
    _, alpha = refine_edges(grainy(composed(truth, RED, BLUE)), mask)
    assert half_transparent(alpha) < 0.9 * half_transparent(upsample(mask, size))


@pytest.mark.parametrize("softness", [1.0, 6.0])
@pytest.mark.parametrize("size", [(100, 75), (400, 300), (1000, 750)])
def test_half_transparent_pixels_have_the_subjects_colour(size: Size, softness: float) -> None:
    truth = disc(size, softness)
    colours, _ = refine_edges(composed(truth, RED, BLUE), coarse(truth))
    edge = (truth > 0.3) & (truth < 0.7)
    assert np.abs(colours[edge].mean(axis=0) - RED).max() < 10
    assert np.abs(colours[edge].astype(float) - RED).max() < 30


@pytest.mark.parametrize("size", [(100, 75), (1000, 750)])
def test_opaque_pixels_keep_their_colour(size: Size) -> None:
    truth = disc(size)
    photo = grainy(composed(truth, RED, BLUE))
    colours, alpha = refine_edges(photo, coarse(truth))
    assert np.abs(colours.astype(int) - photo)[alpha == 255].max() <= 1


def test_pixels_away_from_the_edge_are_unchanged() -> None:
    truth = disc((1000, 750))
    photo = grainy(composed(truth, RED, BLUE))
    colours, alpha = refine_edges(photo, coarse(truth))
    middle = slice(300, 450), slice(425, 575)
    assert (colours[middle] == photo[middle]).all()
    assert (alpha[middle] == 255).all()


def test_the_photo_itself_is_not_changed() -> None:
    photo = grainy(composed(disc((100, 75)), RED, BLUE))
    before = photo.copy()
    refine_edges(photo, coarse(disc((100, 75))))
    assert (photo == before).all()


def test_a_read_only_photo_is_accepted() -> None:
    photo = composed(disc((100, 75)), RED, BLUE)
    photo.flags.writeable = False
    assert refine_edges(photo, coarse(disc((100, 75))))[0].shape == photo.shape


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_refined(size: Size) -> None:
    photo = np.asarray(noise(size))
    colours, alpha = refine_edges(photo, coarse(disc((320, 320))))
    plain = upsample(coarse(disc((320, 320))), size)
    assert (colours.shape, alpha.shape, plain.shape) == (photo.shape, photo.shape[:2], photo.shape[:2])
    assert colours.dtype == alpha.dtype == plain.dtype == np.uint8


@pytest.mark.parametrize("whole", [0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_a_mask_without_an_edge_is_unchanged(size: Size, whole: int) -> None:
    photo = np.asarray(noise(size))
    mask = np.full((320, 320), whole, np.float32)
    colours, alpha = refine_edges(photo, mask)
    assert (colours == photo).all()
    assert (alpha == 255 * whole).all()
    assert (upsample(mask, size) == 255 * whole).all()


@pytest.mark.parametrize("grid", [(1, 1), (64, 64), (320, 320), (1024, 512)])
def test_any_grid_is_refined(grid: Size) -> None:
    _, alpha = refine_edges(np.asarray(noise((200, 150))), np.ones(grid, np.float32))
    assert (alpha == 255).all()


@pytest.mark.parametrize("size", [(40, 30), (640, 640)])
def test_upsampling_keeps_the_share_of_the_subject(size: Size) -> None:
    assert upsample(coarse(disc((320, 320))), size).mean() / 255 == pytest.approx(disc((320, 320)).mean(), abs=0.01)


@pytest.mark.parametrize("size", [(40, 30), (20, 60)])
def test_a_mask_larger_than_the_photo_is_averaged(size: Size) -> None:
    mask = np.random.default_rng(1).random((320, 320), np.float32)
    _, refined = refine_edges(np.full((size[1], size[0], 3), 90, np.uint8), mask)
    assert upsample(mask, size).std() < 15
    assert refined.std() < 6


def test_tiles_have_no_visible_borders() -> None:
    truth = disc((700, 700), 500.0)
    _, alpha = refine_edges(composed(truth, RED, BLUE), coarse(truth))
    assert np.abs(np.diff(alpha.astype(int), axis=1)).max() <= 4
    assert np.abs(np.diff(alpha.astype(int), axis=0)).max() <= 4
