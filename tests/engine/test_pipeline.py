"""Pipeline of a photo, with the embedded model."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from typing import Any

import pytest
from PIL import Image

from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.errors import CorruptImage, ServiceError, UnknownForeground
from app.imaging.decode import Photo, decode
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE, ROOT
from tests.support.photos import encoded, jpeg, opened, photo


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(ENGINE, SessionCache(threads=2))


def run(pipeline: Pipeline, image: bytes, background: bytes = b"", **options: Any) -> RemovalResult:
    settings: dict[str, Any] = {"model": "lite", "longest_side": 2048} | options
    return pipeline.run(RemovalRequest(image, RemovalOptions(**settings), background))


def test_a_cut_out_has_the_size_of_the_photo(pipeline: Pipeline) -> None:
    result = run(pipeline, jpeg())
    image = opened(result.body)
    assert (image.mode, image.size, result.mimetype) == ("RGBA", (512, 512), "image/png")
    assert result.confidence > 0.8 and result.model == "lite"
    assert set(result.stages_ms) == {"decode", "infer", "cutout", "encode"}


def test_the_subject_is_kept_and_the_background_is_removed(pipeline: Pipeline) -> None:
    image = opened(run(pipeline, jpeg()).body)
    assert image.getpixel((220, 120)) == pytest.approx((*photo("astronaut").getpixel((220, 120)), 255), abs=12)  # type: ignore[misc]
    assert image.getpixel((360, 20)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (600, 400)),
        ({"longest_side": 300}, (300, 200)),
        ({"max_width": 150}, (150, 100)),
        ({"max_height": 100}, (150, 100)),
        ({"max_width": 300, "max_height": 300}, (300, 200)),
        ({"max_width": 4000, "max_height": 4000}, (600, 400)),
    ],
)
def test_answers_fit_the_requested_size(options: dict[str, Any], size: tuple[int, int], pipeline: Pipeline) -> None:
    result = run(pipeline, jpeg("coffee"), **options)
    assert (result.width, result.height) == opened(result.body).size == size


def test_a_limit_on_one_side_does_not_limit_the_other(pipeline: Pipeline) -> None:
    tall = encoded(photo("coffee").resize((600, 1800)), "JPEG")
    result = run(pipeline, tall, max_width=300)
    assert (result.width, result.height) == (300, 900)


def test_a_crop_contains_exactly_the_subject(pipeline: Pipeline) -> None:
    whole, cropped = run(pipeline, jpeg("coffee")), run(pipeline, jpeg("coffee"), crop=True)
    assert (cropped.width, cropped.height) == (whole.foreground.width, whole.foreground.height)
    assert (cropped.foreground.top, cropped.foreground.left) == (0, 0)


def test_an_image_without_a_subject_has_low_confidence(pipeline: Pipeline) -> None:
    result = run(pipeline, encoded(Image.new("RGB", (320, 240), (120, 130, 140))))
    assert result.confidence < 0.5
    assert (result.foreground.width, result.foreground.height) == (0, 0)


def test_a_missing_required_foreground_is_an_error(pipeline: Pipeline) -> None:
    with pytest.raises(UnknownForeground):
        run(pipeline, encoded(Image.new("RGB", (320, 240), (120, 130, 140))), require_foreground=True)


def test_a_background_photo_shows_behind_the_subject(pipeline: Pipeline) -> None:
    result = run(pipeline, jpeg(), background=encoded(Image.new("RGB", (64, 64), "blue")))
    image = opened(result.body)
    assert image.mode == "RGB"
    assert image.getpixel((360, 20)) == (0, 0, 255)


def test_a_transparent_background_photo_is_put_on_the_colour(pipeline: Pipeline) -> None:
    clear = encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 0)))
    options = RemovalOptions("lite", 2048, background=(255, 0, 0, 255))
    result = pipeline.run(RemovalRequest(jpeg(), options, clear))
    assert opened(result.body).getpixel((360, 20)) == (255, 0, 0)


def test_an_error_of_the_background_photo_names_it(pipeline: Pipeline) -> None:
    with pytest.raises(CorruptImage, match="background: "):
        run(pipeline, jpeg(), background=jpeg()[:2000])


def test_transparency_of_the_input_is_kept(pipeline: Pipeline) -> None:
    image = photo("astronaut").convert("RGBA")
    image.paste((0, 0, 0, 0), (180, 100, 260, 140))
    assert opened(run(pipeline, encoded(image)).body).getpixel((220, 120)) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2), (33, 17)])
def test_extreme_sizes_are_processed(size: tuple[int, int], pipeline: Pipeline) -> None:
    result = run(pipeline, encoded(Image.new("RGB", size, "red")))
    assert max(result.width, result.height) == min(max(size), 2048)


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", jpeg()[:1000], b"GIF89a", b"II*\x00" + bytes(50)])
def test_invalid_images_are_service_errors(data: bytes, pipeline: Pipeline) -> None:
    with pytest.raises(ServiceError):
        run(pipeline, data)


def test_a_mask_is_a_greyscale_image(pipeline: Pipeline) -> None:
    assert opened(run(pipeline, jpeg(), mask_only=True).body).mode == "L"


def test_a_zip_contains_colours_and_alpha(pipeline: Pipeline) -> None:
    archive = zipfile.ZipFile(io.BytesIO(run(pipeline, jpeg(), format="ZIP").body))
    assert archive.namelist() == ["color.jpg", "alpha.png"]


@pytest.mark.parametrize("image", [jpeg(), b"not an image"])
def test_the_deadline_of_decoding_ends_with_it(
    image: bytes, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []

    def record(*arguments: Any) -> Photo:
        left.append(signal.getitimer(signal.ITIMER_PROF)[0])
        return decode(*arguments)

    monkeypatch.setattr("app.engine.pipeline.decode", record)
    with suppress(ServiceError):
        run(pipeline, image)
    assert left[0] > 0
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0


def test_a_process_that_decodes_too_long_ends_with_sigprof() -> None:
    endless = """
from app.engine import pipeline
pipeline.DECODE_SECONDS = 0.1
with pipeline._decode_deadline():
    sum(iter(int, 1))  # in native code, which runs no Python handler of a signal
"""
    assert subprocess.run([sys.executable, "-c", endless], cwd=ROOT, timeout=120).returncode == -signal.SIGPROF
