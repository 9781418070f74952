"""Several results from one photo: one inference, with the embedded model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.engine.shared import SharedWork
from app.errors import (
    CorruptImage,
    OutOfMemory,
    RoiExceedsBounds,
    ServiceError,
    TooManyPixels,
    TransparentImage,
    UnknownForeground,
    UnsupportedFormat,
)
from app.imaging import decode as decoder
from app.options.parameters import parse_native
from app.options.presets import BUILT_IN, apply_preset
from app.removal import Blur, Canvas, Gradient, Length, RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE
from tests.support.photos import encoded, jpeg, opened, photo

LITE = RemovalOptions("lite", 2048)
FULL = 25_000_000
# Options whose results need the same decoded photo, of any size up to their working size.
SAME_SIZE = (
    LITE,
    replace(LITE, format="JPEG", background=(255, 255, 255, 255)),
    replace(LITE, format="WEBP", crop=True, crop_margin=(Length(10),) * 4),
    replace(LITE, mask_only=True, clean_mask=True),
    replace(LITE, refine="none"),
    replace(LITE, refine="matting"),
    replace(LITE, smooth_mask=True),
    replace(LITE, keep_colours=True),
    replace(LITE, backdrop=Blur(20)),
    replace(LITE, backdrop=Gradient((255, 0, 0, 255), (0, 0, 255, 255))),
    replace(LITE, full_size=True),
    replace(LITE, max_width=200),
    replace(LITE, canvas=Canvas(FULL, scale=0.85, position=(0.5, 0.5), size=(400, 500))),
    replace(LITE, canvas=Canvas(FULL), crop=True, portrait=True),
    replace(LITE, canvas=Canvas(40_000), format="AUTO"),
    LITE,
)


@pytest.fixture(scope="module")
def sessions() -> SessionCache:
    return SessionCache(threads=2)


@pytest.fixture(scope="module")
def pipeline(sessions: SessionCache) -> Pipeline:
    unlimited = MemoryGuard(cap=1 << 40, warn=1 << 40)  # a load of a further model limits the memory of these tests
    return Pipeline(ENGINE, sessions, unlimited)


def run_all(
    pipeline: Pipeline, image: bytes, *options: RemovalOptions, background: bytes = b""
) -> list[RemovalResult | ServiceError]:
    """Return the results or errors for all options, in their order, as an engine computes them."""
    singles = RemovalRequest(image, options[0], background, more_options=options[1:]).singles
    shared = SharedWork()
    outcomes: dict[int, RemovalResult | ServiceError] = {}
    for number in pipeline.order(singles):
        try:
            outcomes[number] = pipeline.run(singles[number], shared)
        except ServiceError as error:
            outcomes[number] = error
    return [outcomes[number] for number in range(len(options))]


def results(pipeline: Pipeline, image: bytes, *options: RemovalOptions, background: bytes = b"") -> list[RemovalResult]:
    outcomes = run_all(pipeline, image, *options, background=background)
    assert all(isinstance(outcome, RemovalResult) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, RemovalResult)]


def alone(pipeline: Pipeline, image: bytes, options: RemovalOptions, background: bytes = b"") -> RemovalResult:
    return pipeline.run(RemovalRequest(image, options, background))


def without_times(result: RemovalResult) -> RemovalResult:
    return replace(result, stages_ms={}, stages_mb={})


def inferences(found: list[RemovalResult]) -> int:
    return sum("infer" in result.stages_ms for result in found)


def preset(name: str) -> RemovalOptions:
    texts = apply_preset({"preset": name}, BUILT_IN)
    return parse_native(texts, models=("lite",), longest_side=2048, accepted_format="PNG").options


def with_alpha(image: Image.Image, table: list[int]) -> bytes:
    """Return an image whose alpha is a table's value for the distance from its centre, 0..255."""
    alpha = Image.radial_gradient("L").resize(image.size).point(table)
    return encoded(Image.merge("RGBA", (*image.split(), alpha)))


def rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", exif=exif)


EMPTY = encoded(Image.new("RGB", (320, 240), (120, 130, 140)))
PHOTOS = {
    "coffee": jpeg("coffee"),
    "astronaut": jpeg(),
    "rotated": rotated(photo("cat")),
    "vignette": with_alpha(photo("astronaut"), [255 - value // 2 for value in range(256)]),
    "cut out": with_alpha(photo("cat"), [255] * 130 + [0] * 126),
    "no subject": EMPTY,
}
# Larger than all working sizes but that of the full size.
LARGE = encoded(photo("coffee").resize((2400, 1600), Image.Resampling.BICUBIC), "JPEG", quality=90)
REGION = Canvas(FULL, roi=(Length(0), Length(0), Length(60, "%"), Length(100, "%")))


@pytest.mark.parametrize("name", PHOTOS)
def test_results_of_one_inference_are_equal_to_those_of_separate_requests(name: str, pipeline: Pipeline) -> None:
    found = results(pipeline, PHOTOS[name], *SAME_SIZE)
    for options, result in zip(SAME_SIZE, found, strict=True):
        assert without_times(result) == without_times(alone(pipeline, PHOTOS[name], options)), options
    assert inferences(found) == (len(found) if name == "cut out" else 1)


def test_a_background_photo_is_behind_all_results(pipeline: Pipeline) -> None:
    blue = encoded(Image.new("RGB", (64, 64), "blue"))
    for options, result in zip(SAME_SIZE, results(pipeline, jpeg(), *SAME_SIZE, background=blue), strict=True):
        assert result.body == alone(pipeline, jpeg(), options, blue).body


@pytest.mark.parametrize("names", [("amazon", "instagram", "thumbnail"), ("thumbnail", "amazon", "instagram")])
def test_presets_share_the_inference_of_the_largest_size(names: tuple[str, ...], pipeline: Pipeline) -> None:
    found = results(pipeline, LARGE, *map(preset, names))
    assert inferences(found) == 1
    for name, result in zip(names, found, strict=True):
        single = alone(pipeline, LARGE, preset(name))
        if name == "thumbnail":
            assert (result.width, result.height, result.mimetype) == (single.width, single.height, single.mimetype)
            assert difference(result, single) < 2
        else:
            assert result.body == single.body


def difference(one: RemovalResult, other: RemovalResult) -> float:
    pixels, others = (np.asarray(opened(result.body).convert("RGBA"), np.int16) for result in (one, other))
    return float(np.abs(pixels - others).mean())


def test_a_smaller_result_has_its_own_pixels_and_the_mask_of_the_larger_one(pipeline: Pipeline) -> None:
    small, large = replace(LITE, longest_side=700, refine="none"), replace(LITE, refine="none", full_size=True)
    result, whole = results(pipeline, LARGE, small, large)
    single = alone(pipeline, LARGE, small)
    assert whole.body == alone(pipeline, LARGE, large).body
    assert inferences([result, whole]) == 1 and result.confidence == whole.confidence
    colours, others = (np.asarray(opened(found.body)) for found in (result, single))
    visible = (colours[..., 3] > 0) & (others[..., 3] > 0)
    assert visible.mean() > 0.2 and (colours[visible, :3] == others[visible, :3]).all()
    assert difference(result, single) < 0.5


def test_the_photo_is_decoded_once_for_each_size(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def record(data: bytes, longest_side: int, *more: Any) -> decoder.Photo:
        sides.append(longest_side)
        return decoder.decode(data, longest_side, *more)

    monkeypatch.setattr("app.engine.pipeline.decode", record)
    results(pipeline, LARGE, *map(preset, ("thumbnail", "amazon", "web", "instagram", "email", "archival")))
    assert sides == [2400, 1200, 640]
    sides.clear()
    results(pipeline, jpeg("coffee"), *map(preset, ("thumbnail", "amazon", "email", "instagram", "archival")))
    assert len(sides) == 1


def test_each_model_has_its_inference(pipeline: Pipeline) -> None:
    options = [replace(LITE, model=model, format=f) for f in ("PNG", "WEBP") for model in ("lite", "u2netp", "auto")]
    found = results(pipeline, jpeg("coffee"), *options)
    assert inferences(found) == 3
    assert [result.body for result in found] == [alone(pipeline, jpeg("coffee"), each).body for each in options]


def test_each_region_has_its_inference(pipeline: Pipeline) -> None:
    options = [LITE, replace(LITE, canvas=REGION), replace(LITE, canvas=Canvas(FULL)), replace(LITE, canvas=REGION)]
    found = results(pipeline, jpeg("coffee"), *options)
    assert inferences(found) == 2
    assert [result.body for result in found] == [alone(pipeline, jpeg("coffee"), each).body for each in options]


def test_an_error_of_one_result_does_not_concern_the_others(pipeline: Pipeline) -> None:
    outside = replace(LITE, canvas=Canvas(FULL, roi=(Length(0), Length(0), Length(5000), Length(10))))
    required = replace(LITE, require_foreground=True)
    outcomes = run_all(pipeline, EMPTY, outside, LITE, required, LITE)
    assert [type(outcome) for outcome in outcomes] == [
        RoiExceedsBounds,
        RemovalResult,
        UnknownForeground,
        RemovalResult,
    ]


@pytest.mark.parametrize(
    ("image", "error"),
    [(jpeg()[:1000], CorruptImage), (encoded(Image.new("RGBA", (99, 99))), TransparentImage), (b"", UnsupportedFormat)],
)
def test_an_error_of_the_photo_is_that_of_all_results(
    image: bytes, error: type[ServiceError], pipeline: Pipeline
) -> None:
    options = (LITE, preset("amazon"), preset("thumbnail"), preset("archival"))
    assert [type(outcome) for outcome in run_all(pipeline, image, *options)] == [error] * 4


def test_a_result_that_does_not_fit_into_memory_is_refused_alone(sessions: SessionCache) -> None:
    guard = MemoryGuard(cap=150 * MEGABYTE, warn=1 << 40)
    limited = Pipeline(ENGINE, sessions, guard)
    webp = replace(LITE, format="WEBP", canvas=Canvas(FULL, size=(4000, 4000)))
    outcomes = run_all(limited, jpeg("coffee"), webp, LITE, webp)
    assert [type(outcome) for outcome in outcomes] == [OutOfMemory, RemovalResult, OutOfMemory]


def test_a_size_that_has_too_many_pixels_is_refused_alone(sessions: SessionCache) -> None:
    limited = Pipeline(replace(ENGINE, max_pixels=1_000_000), sessions)
    outcomes = run_all(limited, LARGE, LITE, preset("thumbnail"))
    assert [type(outcome) for outcome in outcomes] == [TooManyPixels, RemovalResult]


def test_the_largest_size_of_each_model_goes_first(pipeline: Pipeline) -> None:
    small, large = replace(LITE, longest_side=700), replace(LITE, model="u2netp", full_size=True)
    singles = RemovalRequest(LARGE, small, more_options=(large, LITE, replace(large, full_size=False))).singles
    assert pipeline.order(singles) == [2, 0, 1, 3]
