"""Pipeline of a photo, with the embedded model."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.errors import CorruptImage, ServiceError, TransparentImage, UnknownForeground
from app.removal import Box, Canvas, Length, RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.synthetic_images import disc

# Table of 255 for every visible alpha.
SEEN = [0] + [255] * 255


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


def subject_with_alpha(hidden: str = "black", colour: str = "#101418") -> Image.Image:
    """Return a dark disc and a small bar beside it, on transparent ground of a hidden colour."""
    image = Image.new("RGBA", (300, 240), (*ImageColor.getrgb(hidden)[:3], 0))
    drawn = ImageDraw.Draw(image)
    drawn.ellipse((90, 60, 210, 180), fill=colour)
    drawn.rectangle((240, 200, 280, 210), fill=colour)
    return image


@pytest.mark.parametrize("hidden", ["black", "white", "magenta"])
@pytest.mark.parametrize("options", [{}, {"refine": "matting"}, {"require_foreground": True}, {"smooth_mask": True}])
def test_an_image_that_is_already_cut_out_is_kept(options: dict[str, Any], hidden: str, pipeline: Pipeline) -> None:
    image = subject_with_alpha(hidden)
    result = run(pipeline, encoded(image), **options)
    answer = opened(result.body)
    assert answer.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert answer.getpixel((150, 120)) == image.getpixel((150, 120))
    assert (result.foreground, result.confidence) == (Box(60, 90, 191, 151), 1.0)


PALETTES = [encoded(subject_with_alpha().quantize(8), "PNG"), encoded(subject_with_alpha(), "GIF")]


@pytest.mark.parametrize("data", PALETTES, ids=["PNG", "GIF"])
def test_a_palette_image_that_is_already_cut_out_is_kept(data: bytes, pipeline: Pipeline) -> None:
    answer = opened(run(pipeline, data).body)
    assert answer.getchannel("A").tobytes() == opened(data).convert("RGBA").getchannel("A").tobytes()


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee"])
def test_a_result_that_is_sent_again_is_returned_unchanged(name: str, pipeline: Pipeline) -> None:
    first = opened(run(pipeline, jpeg(name)).body)
    assert opened(run(pipeline, encoded(first)).body).tobytes() == first.tobytes()


def test_a_cut_out_is_cropped_and_scaled(pipeline: Pipeline) -> None:
    result = run(pipeline, encoded(subject_with_alpha("white")), crop=True, max_width=96)
    assert (result.width, result.height) == (96, 76)
    assert opened(result.body).getpixel((30, 30)) == (16, 20, 24, 255)


@pytest.mark.parametrize("options", [{}, {"max_width": 200}, {"canvas": Canvas(20_000)}])
def test_hidden_colours_do_not_influence_a_photo_with_a_vignette(options: dict[str, Any], pipeline: Pipeline) -> None:
    vignette = Image.fromarray(np.asarray(disc((512, 512), softness=200) * 255, np.uint8))
    answers = set()
    for hidden in ("black", "white", "magenta"):
        image = Image.composite(photo("astronaut"), Image.new("RGB", (512, 512), hidden), vignette.point(SEEN))
        image.putalpha(vignette)
        answers.add(run(pipeline, encoded(image), **options).body)
    assert len(answers) == 1


def test_a_photo_with_an_opaque_alpha_is_processed_as_without(pipeline: Pipeline) -> None:
    image = photo("cat").convert("RGBA")
    assert run(pipeline, encoded(image)).body == run(pipeline, encoded(photo("cat"))).body


def test_a_subject_that_is_transparent_is_not_a_foreground(pipeline: Pipeline) -> None:
    image = photo("astronaut").convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 512, 500))
    left_top = (Length(0), Length(0), Length(50, "%"), Length(50, "%"))
    result = run(pipeline, encoded(image), canvas=Canvas(10**6, roi=left_top))
    assert (result.foreground, result.confidence) == (Box(), 0.0)
    with pytest.raises(UnknownForeground):
        run(pipeline, encoded(image), require_foreground=True, canvas=Canvas(10**6, roi=left_top))


@pytest.mark.parametrize("alpha", [0, 12])
@pytest.mark.parametrize("options", [{}, {"require_foreground": True}, {"mask_only": True}])
def test_an_image_without_visible_pixels_is_an_error(options: dict[str, Any], alpha: int, pipeline: Pipeline) -> None:
    image = photo("cat").convert("RGBA")
    image.putalpha(alpha)
    with pytest.raises(TransparentImage):
        run(pipeline, encoded(image), **options)


def test_a_bitmap_of_alpha_0_is_opaque(pipeline: Pipeline) -> None:
    image = photo("astronaut").convert("RGBA")
    image.putalpha(0)
    assert run(pipeline, encoded(image, "BMP")).body == run(pipeline, encoded(photo("astronaut"))).body
