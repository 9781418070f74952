"""Cascade of two models: real photos with the real models, and the blend of two masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from PIL import Image

from app.engine.cascade import AUTO_BLEND, Blend, predict
from app.engine.memory import MemoryGuard
from app.engine.models import AUTO, REGISTRY
from app.engine.pipeline import Pipeline, Stages
from app.engine.session import Session, SessionCache
from app.errors import UnknownForeground
from app.imaging.subject import confidence_of
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE
from tests.support.photos import encoded, jpeg, photo

# Coins on a table: lite finds no clear subject.
UNSURE = Image.fromarray(skimage.data.coins()).convert("RGB")
SURE = photo("coffee")


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    cache = SessionCache(threads=2)
    return [cache.get(part.name) for part in REGISTRY[AUTO].parts]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(replace(ENGINE, model=AUTO), SessionCache(threads=2))


@pytest.fixture
def stages() -> Stages:
    return Stages(MemoryGuard(1 << 40, 1 << 40))


def run(pipeline: Pipeline, image: bytes, *, model: str = AUTO, fast: bool = False, **options: bool) -> RemovalResult:
    return pipeline.run(RemovalRequest(image, RemovalOptions(model, 512, **options)), fast=fast)  # type: ignore[arg-type]


def test_the_photos_of_these_tests_are_sure_and_unsure(sessions: list[Session]) -> None:
    sure, unsure = (confidence_of(sessions[0].predict(image)) for image in (SURE, UNSURE))
    assert unsure < AUTO_BLEND.threshold <= sure


def test_a_sure_photo_has_the_answer_of_lite(pipeline: Pipeline) -> None:
    result, lite = run(pipeline, jpeg("coffee")), run(pipeline, jpeg("coffee"), model="lite")
    assert (result.model, result.under_load) == ("lite", False)
    assert (result.body, result.confidence) == (lite.body, lite.confidence)
    assert list(result.stages_ms) == ["decode", "infer", "cutout", "encode"]


def test_an_unsure_photo_goes_on(pipeline: Pipeline) -> None:
    image = encoded(UNSURE)
    bodies = {model: run(pipeline, image, model=model).body for model in ("auto", "lite", "u2netp")}
    result = run(pipeline, image)
    assert (result.model, result.under_load) == ("lite+u2netp", False)
    assert list(result.stages_ms) == ["decode", "infer", "second_infer", "cutout", "encode"]
    assert len(set(bodies.values())) == 3 and result.body == bodies["auto"]


def test_under_load_an_unsure_photo_has_the_answer_of_lite(pipeline: Pipeline) -> None:
    image = encoded(UNSURE)
    result, lite = run(pipeline, image, fast=True), run(pipeline, image, model="lite")
    assert (result.model, result.under_load, lite.under_load) == ("lite", True, False)
    assert (result.body, result.confidence) == (lite.body, lite.confidence)


def test_under_load_a_sure_photo_is_as_always(pipeline: Pipeline) -> None:
    assert not run(pipeline, jpeg("coffee"), fast=True).under_load


def test_models_alone_ignore_load(pipeline: Pipeline) -> None:
    result = run(pipeline, encoded(UNSURE), model="u2netp", fast=True)
    assert (result.model, result.under_load) == ("u2netp", False)


@pytest.mark.parametrize("model", ["auto", "lite", "u2netp"])
@pytest.mark.parametrize("colour", ["grey", "white", "black"])
def test_a_picture_of_one_colour_has_no_subject(pipeline: Pipeline, model: str, colour: str) -> None:
    with pytest.raises(UnknownForeground):
        run(pipeline, encoded(Image.new("RGB", (64, 64), colour)), model=model, require_foreground=True)


@pytest.mark.parametrize("model", ["auto", "lite"])
def test_noise_has_no_subject(pipeline: Pipeline, model: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8))
    with pytest.raises(UnknownForeground):
        run(pipeline, encoded(noise), model=model, require_foreground=True)


def test_the_mask_is_blended_before_it_is_scaled(sessions: list[Session], stages: Stages) -> None:
    prediction = predict(sessions, UNSURE, stages.stage)
    expected = AUTO_BLEND.combine(*(session.predict(UNSURE) for session in sessions))
    assert prediction.mask.shape == (320, 320)
    assert np.abs(prediction.raw - expected).max() < 1e-5
    assert np.abs(prediction.mask - AUTO_BLEND.sharpen(expected)).max() < 1e-4
    assert prediction.confidence == pytest.approx(confidence_of(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("exponent", "second_weight", "expected"), [(0, 1.0, 0.75), (0, 0.5, 2 / 3), (1, 1.0, 5 / 6), (2, 1.0, 0.9)]
)
def test_weights_of_the_blend(exponent: float, second_weight: float, expected: float) -> None:
    first, second = np.full((10, 10), 0.5, np.float32), np.ones((10, 10), np.float32)
    assert Blend(0.9, exponent, second_weight).combine(first, second).mean() == pytest.approx(expected)


def test_contrast_moves_cells_away_from_one_half() -> None:
    cells = np.array([[0, 0.2, 0.5, 0.8, 1]], np.float32)
    assert Blend(0.9, 1, 1, contrast=2).sharpen(cells)[0] == pytest.approx([0, 1 / 17, 0.5, 16 / 17, 1])
    assert Blend(0.9, 1, 1).sharpen(cells)[0] == pytest.approx(cells[0])


def test_two_empty_masks_stay_empty() -> None:
    empty = np.zeros((10, 10), np.float32)
    assert not AUTO_BLEND.combine(empty, empty).any()
