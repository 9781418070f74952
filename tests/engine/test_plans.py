"""Answers on a canvas, with the embedded model."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.errors import OutOfMemory, TooManyPixels
from app.removal import Box, Canvas, Length, RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE
from tests.support.photos import encoded, opened, photo

FULL, PREVIEW = 25_000_000, 250_000
OPTIONS = RemovalOptions("lite", 2048, full_size=True)
# Scaled down for all sizes but FULL. The subject reaches from one edge to the other.
LARGE = photo("astronaut").resize((2400, 2400), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def sessions() -> SessionCache:
    return SessionCache(threads=2)


@pytest.fixture(scope="module")
def pipeline(sessions: SessionCache) -> Pipeline:
    return Pipeline(ENGINE, sessions)


@pytest.fixture(scope="module")
def large() -> bytes:
    return encoded(LARGE, "JPEG", quality=90)


def run(pipeline: Pipeline, image: bytes, canvas: Canvas, background: bytes = b"", **more: Any) -> RemovalResult:
    return pipeline.run(RemovalRequest(image, replace(OPTIONS, canvas=canvas, **more), background))


def alpha_of(result: RemovalResult) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(opened(result.body).getchannel("A"))


@pytest.mark.parametrize(
    ("pixels", "size"),
    [(PREVIEW, (500, 500)), (1_500_000, (1224, 1224)), (4_000_000, (2000, 2000)), (FULL, (2400, 2400))],
)
def test_answers_may_exceed_max_dimension_up_to_their_pixel_limit(
    pixels: int, size: tuple[int, int], pipeline: Pipeline, large: bytes
) -> None:
    result = run(pipeline, large, Canvas(pixels))
    assert (result.width, result.height) == opened(result.body).size == size
    assert result.max_size == (2400, 2400)


@pytest.mark.parametrize("pixels", [PREVIEW, FULL])
def test_a_crop_has_the_size_of_its_subject_at_each_pixel_limit(pixels: int, pipeline: Pipeline, large: bytes) -> None:
    cropped = run(pipeline, large, Canvas(pixels), crop=True)
    assert (cropped.foreground.top, cropped.foreground.left) == (0, 0)
    assert (cropped.foreground.width, cropped.foreground.height) == (cropped.width, cropped.height)
    assert abs(cropped.width * cropped.height - min(pixels, cropped.max_size[0] * cropped.max_size[1])) < 2000
    assert cropped.max_size[0] > 2048


def test_the_reported_box_is_the_box_of_the_subject(pipeline: Pipeline, large: bytes) -> None:
    result = run(pipeline, large, Canvas(PREVIEW, scale=0.5, position=(1.0, 0.0)))
    box = result.foreground
    assert (box.top, box.left + box.width, max(box.width, box.height)) == (0, 500, 250)
    rows, columns = np.nonzero(alpha_of(result) >= 13)
    assert (rows.min(), columns.max() + 1) == pytest.approx((box.top, box.left + box.width), abs=1)
    assert (rows.max() + 1, columns.min()) == pytest.approx((box.height, box.left), abs=1)


def test_the_model_sees_only_the_region(pipeline: Pipeline, large: bytes) -> None:
    roi = (Length(25, "%"), Length(0), Length(1200), Length(50, "%"))
    result = run(pipeline, large, Canvas(PREVIEW, roi=roi))
    alone = encoded(LARGE.crop((600, 0, 1200, 1200)), "PNG")
    same = run(pipeline, alone, Canvas(FULL))
    assert result.confidence == pytest.approx(same.confidence, abs=0.02)
    alpha = alpha_of(result).astype(np.int16)
    assert alpha[250:].max() == alpha[:, :125].max() == alpha[:, 250:].max() == 0
    expected = np.asarray(opened(same.body).getchannel("A").resize((125, 250)), np.int16)
    assert np.abs(alpha[:250, 125:250] - expected).mean() < 4


def test_a_margin_may_extend_beyond_the_photo(pipeline: Pipeline) -> None:
    cat = encoded(photo("cat"), "JPEG")
    tight, wide = (run(pipeline, cat, Canvas(FULL), crop=True, crop_margin=(Length(px),) * 4) for px in (0, 100))
    assert (wide.width, wide.height) == (tight.width + 200, tight.height + 200)
    assert wide.foreground == Box(100, 100, tight.width, tight.height)
    assert np.array_equal(alpha_of(wide)[100:-100, 100:-100], alpha_of(tight))


@pytest.mark.parametrize("format", ["PNG", "ZIP"])
def test_a_png_has_at_most_ten_megapixels(format: Any, sessions: SessionCache) -> None:
    pipeline = Pipeline(ENGINE, sessions)
    huge = encoded(photo("astronaut").resize((4000, 3000)), "JPEG")
    result = run(pipeline, huge, Canvas(FULL), format=format)
    if format == "ZIP":
        with zipfile.ZipFile(io.BytesIO(result.body)) as archive:
            assert {opened(archive.read(name)).size for name in archive.namelist()} == {(4000, 3000)}
    assert (result.width, result.height) == result.max_size == ((3651, 2738) if format == "PNG" else (4000, 3000))


def test_auto_is_jpeg_with_an_opaque_background(pipeline: Pipeline, large: bytes) -> None:
    cat = encoded(photo("cat"))
    results = [run(pipeline, large, Canvas(PREVIEW), background, format="AUTO") for background in (b"", cat)]
    assert [result.mimetype for result in results] == ["image/png", "image/jpeg"]


def test_a_background_fills_the_canvas(pipeline: Pipeline, large: bytes) -> None:
    green = encoded(Image.new("RGB", (40, 20), (0, 200, 0)))
    result = run(pipeline, large, Canvas(PREVIEW, scale=0.3, position=(0.5, 0.5)), green)
    image = opened(result.body)
    assert {image.getpixel(at) for at in ((0, 0), (499, 0), (0, 499), (499, 499))} == {(0, 200, 0)}


def fixed(width: int, height: int, scale: float | None = None) -> Canvas:
    return Canvas(FULL, scale=scale, position=(0.5, 0.5) if scale else None, size=(width, height))


@pytest.mark.parametrize("name", ["cat", "coffee", "astronaut"])
def test_a_subject_has_its_share_of_a_fixed_canvas(name: str, pipeline: Pipeline) -> None:
    result = run(pipeline, encoded(photo(name), "JPEG"), fixed(900, 900, 0.85), format="JPEG")
    box, image = result.foreground, opened(result.body)
    assert (result.mimetype, image.size, image.getpixel((2, 2))) == ("image/jpeg", (900, 900), (255, 255, 255))
    assert max(box.width, box.height) == pytest.approx(765, abs=2)
    assert abs(2 * box.left + box.width - 900) <= 2 and abs(2 * box.top + box.height - 900) <= 2
    assert not result.scaled_down


def test_a_photo_is_fitted_into_a_fixed_canvas(pipeline: Pipeline) -> None:
    result = run(pipeline, encoded(photo("coffee"), "JPEG"), fixed(300, 500))
    alone = run(pipeline, encoded(photo("coffee"), "JPEG"), Canvas(FULL), max_width=300)
    alpha = alpha_of(result)
    assert (alone.width, alone.height) == (300, 200)
    assert alpha[:150].max() == alpha[350:].max() == 0
    assert np.abs(alpha[150:350].astype(int) - alpha_of(alone)).mean() < 2


def test_a_fixed_canvas_uses_the_photos_full_size(pipeline: Pipeline, large: bytes) -> None:
    whole, preview = (run(pipeline, large, fixed(2200, 2200), full_size=chosen) for chosen in (True, False))
    assert (whole.width, whole.scaled_down) == (2200, False)
    assert run(pipeline, large, fixed(2200, 2200, 0.9), full_size=False, longest_side=600).scaled_down
    assert preview.width == 2200


# Limits of memory


def limited(sessions: SessionCache, megabytes: int, **limits: Any) -> Pipeline:
    return Pipeline(replace(ENGINE, **limits), sessions, MemoryGuard(cap=megabytes * MEGABYTE, warn=1 << 40))


def test_an_answer_that_does_not_fit_into_memory_is_smaller(sessions: SessionCache, large: bytes) -> None:
    result = run(limited(sessions, 120), large, Canvas(FULL))
    assert (result.width, result.height) == result.max_size
    assert 1000 < result.width < 2400
    assert run(limited(sessions, 120), large, Canvas(PREVIEW)).width == 500


def test_a_photo_at_full_size_is_as_large_as_memory_allows(sessions: SessionCache, large: bytes) -> None:
    limited_pipeline = limited(sessions, 120)
    result = limited_pipeline.run(RemovalRequest(large, replace(OPTIONS, full_size=True)))
    assert 1000 < result.width < 2400
    assert result.scaled_down
    assert result.width == run(limited_pipeline, large, Canvas(FULL)).width


@pytest.mark.parametrize(
    ("pixels", "megabytes", "scaled_down"), [(FULL, 1000, False), (FULL, 120, True), (PREVIEW, 120, False)]
)
def test_a_canvas_is_scaled_down_for_memory_only(
    pixels: int, megabytes: int, scaled_down: bool, sessions: SessionCache, large: bytes
) -> None:
    assert run(limited(sessions, megabytes), large, Canvas(pixels)).scaled_down is scaled_down


def test_a_canvas_that_does_not_fit_into_memory_is_refused(sessions: SessionCache) -> None:
    with pytest.raises(OutOfMemory) as caught:
        run(limited(sessions, 100), encoded(photo("cat"), "JPEG"), fixed(4000, 4000, 0.85))
    assert caught.value.advice == "Choose a smaller canvas."


def test_a_photo_that_can_not_be_decoded_in_memory_is_refused(sessions: SessionCache) -> None:
    with pytest.raises(OutOfMemory):
        run(limited(sessions, 60), encoded(LARGE), Canvas(PREVIEW))


def test_max_pixels_scales_a_jpeg_down_and_refuses_a_png(sessions: SessionCache, large: bytes) -> None:
    pipeline = limited(sessions, 10_000, max_pixels=2_000_000)
    assert run(pipeline, large, Canvas(FULL)).width == 1200
    with pytest.raises(TooManyPixels):
        run(pipeline, encoded(LARGE), Canvas(FULL))
