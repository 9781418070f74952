"""Pipeline of a photo, with the embedded model."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from app.engine.container import MEGABYTE
from app.engine.memory import MemoryGuard
from app.engine.pipeline import Pipeline
from app.engine.session import SessionCache
from app.errors import CorruptImage, OutOfMemory, ServiceError, TransparentImage, UnknownForeground
from app.imaging.decode import Photo, decode
from app.removal import Blur, Box, Canvas, Gradient, Length, RemovalOptions, RemovalRequest, RemovalResult
from tests.support.configuration import ENGINE, ROOT
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


TALL = encoded(photo("coffee").resize((1200, 3000)), "JPEG")


@pytest.mark.parametrize(
    ("options", "size", "scaled_down"),
    [
        ({}, (819, 2048), True),
        ({"full_size": True}, (1200, 3000), False),
        ({"full_size": True, "max_height": 2500}, (1000, 2500), False),
        ({"full_size": True, "max_width": 4000}, (1200, 3000), False),
        ({"full_size": True, "max_width": 150}, (150, 375), False),
        ({"max_width": 4000}, (819, 2048), True),
        ({"max_width": 819}, (819, 2048), False),
        ({"max_height": 300}, (120, 300), False),
        ({"longest_side": 300, "max_height": 300}, (120, 300), False),
    ],
)
def test_a_photo_over_the_longest_side(
    options: dict[str, Any], size: tuple[int, int], scaled_down: bool, pipeline: Pipeline
) -> None:
    result = run(pipeline, TALL, **options)
    assert (result.width, result.height) == opened(result.body).size == size
    assert (result.scaled_down, result.input_size) == (scaled_down, (1200, 3000))


def test_a_crop_at_full_size_has_the_photos_resolution(pipeline: Pipeline) -> None:
    small, full = (run(pipeline, TALL, crop=True, full_size=full_size) for full_size in (False, True))
    assert full.height / small.height == pytest.approx(3000 / 2048, rel=0.02)
    assert (small.scaled_down, full.scaled_down) == (True, False)


def test_a_rotated_photo_has_its_full_size(pipeline: Pipeline) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = encoded(opened(TALL), "JPEG", exif=exif)
    result = run(pipeline, rotated, full_size=True, max_width=2500)
    assert (result.width, result.height, result.scaled_down) == (2500, 1000, False)
    assert run(pipeline, rotated, longest_side=300).input_size == (3000, 1200)


def test_an_exact_bound_is_reached_by_a_photo_of_nearly_twice_its_size(pipeline: Pipeline) -> None:
    wide = encoded(photo("coffee").resize((4032, 300)), "JPEG")
    assert run(pipeline, wide, max_width=2048, max_height=2048).width == 2048
    assert run(pipeline, wide).width == 2016


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


def test_a_background_that_does_not_fit_into_memory_is_decoded_smaller() -> None:
    limited = Pipeline(ENGINE, SessionCache(threads=2), MemoryGuard(cap=150 * MEGABYTE, warn=1 << 40))
    behind = encoded(Image.new("RGB", (3000, 3000), "blue"))
    with pytest.raises(OutOfMemory):
        run(limited, behind, longest_side=2000)
    result = run(limited, encoded(photo("cat").resize((2000, 1300))), behind, full_size=True)
    assert opened(result.body).size == (2000, 1300)


def test_a_blurred_background_is_the_photos_own(pipeline: Pipeline) -> None:
    image = photo("astronaut").resize((300, 300))
    blurred, cut = (run(pipeline, encoded(image), backdrop=backdrop) for backdrop in (Blur(50), None))
    answer = np.asarray(opened(blurred.body), np.int16)
    alpha = np.asarray(opened(cut.body).getchannel("A"))
    original = np.asarray(image, np.int16)
    assert opened(blurred.body).mode == "RGB"
    assert np.abs(answer - original)[alpha == 255].mean() < 3
    assert answer[alpha == 0].mean() == pytest.approx(original[alpha == 0].mean(), abs=10)
    sharp, soft = (np.abs(np.diff(pixels, axis=1))[:40, 200:].mean() for pixels in (original, answer))
    assert soft < sharp / 4


def test_a_blurred_background_is_cropped_with_the_subject(pipeline: Pipeline) -> None:
    left, right = Image.new("RGB", (300, 300), "red"), Image.new("RGB", (300, 300), "blue")
    image = Image.new("RGB", (900, 450))
    image.paste(left.resize((450, 450)), (0, 0))
    image.paste(right.resize((450, 450)), (450, 0))
    image.paste(photo("astronaut").resize((300, 300)).crop((50, 0, 230, 300)), (600, 150))
    result = run(pipeline, encoded(image), crop=True, backdrop=Blur(5), crop_margin=(Length(5, "%"),) * 4)
    red, green, blue = opened(result.body).getpixel((2, 2))  # type: ignore[misc]
    assert (red, green, blue) == pytest.approx((0, 0, 255), abs=20)


def test_a_gradient_is_the_background(pipeline: Pipeline) -> None:
    gradient = Gradient((255, 0, 0, 255), (0, 0, 255, 255), 90)
    image = opened(run(pipeline, jpeg(), backdrop=gradient).body)
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert image.getpixel((511, 2)) == (0, 0, 255)


def test_specks_are_removed_on_request(pipeline: Pipeline) -> None:
    image = Image.new("RGB", (1400, 700), (214, 214, 210))
    image.paste(photo("astronaut").crop((100, 0, 400, 512)).resize((380, 648)), (0, 52))
    image.paste(photo("coffee").crop((180, 60, 420, 330)).resize((30, 30)), (1290, 60))
    kept, cleaned = (run(pipeline, encoded(image), clean_mask=clean) for clean in (False, True))
    assert np.asarray(opened(kept.body).getchannel("A"))[:, 800:].max() > 100
    assert np.asarray(opened(cleaned.body).getchannel("A"))[:, 800:].max() == 0
    assert cleaned.foreground.width < 400 < kept.foreground.width


def standing() -> Image.Image:
    """Return a photo of a person from head to foot: the astronaut with a long body below."""
    person = Image.new("RGB", (500, 1400), (214, 214, 210))
    person.paste(photo("astronaut").crop((140, 0, 330, 250)).resize((190, 250)), (155, 100))
    person.paste((230, 90, 40), (185, 340, 315, 1200))
    return person


def test_an_id_photo_of_a_standing_person_shows_head_and_shoulders(pipeline: Pipeline) -> None:
    whole, portrait = (run(pipeline, encoded(standing()), crop=True, portrait=portrait) for portrait in (False, True))
    assert whole.height > 1.8 * whole.width
    assert 0.8 < portrait.height / portrait.width < 1.3


def test_an_id_photo_has_a_margin_around_the_head(pipeline: Pipeline) -> None:
    canvas = Canvas(25_000_000, scale=0.85, position=(0.5, 1.0))
    result = run(pipeline, encoded(standing()), crop=True, portrait=True, canvas=canvas, format="JPEG", max_width=120)
    box = result.foreground
    assert result.width == 120
    assert box.top == pytest.approx(0.15 * result.height, abs=3)
    assert box.left == pytest.approx(0.075 * result.width, abs=3)
    assert box.top + box.height == result.height
    assert not result.scaled_down


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
