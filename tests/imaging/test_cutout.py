"""Cut-out, crop, scale and background."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.imaging.cutout import Cutout, Picture, cut_out, extend_colours, finish
from app.imaging.geometry import Size
from app.imaging.refine import Refiner
from app.removal import Box, Length, RemovalOptions
from tests.support.synthetic_images import coarse, composed, corners, disc, noise, quarters

SIZE = (400, 300)
SUBJECT = Box(100, 150, 80, 60)
GREEN = (10, 200, 30, 255)


def options(**chosen: Any) -> RemovalOptions:
    return RemovalOptions(model="lite", longest_side=4000, **chosen)


def margins(*words: str) -> tuple[Length, ...]:
    """Return margins from texts such as 10px or 5%."""
    return tuple(Length(float(word.rstrip("px%")), "%" if word.endswith("%") else "px") for word in words)


def a_cutout(size: Size = SIZE, subject: Box = SUBJECT) -> Cutout:
    """Return an opaque red subject on a transparent background."""
    image = Image.new("RGBA", size)
    image.paste(
        (255, 0, 0, 255), (subject.left, subject.top, subject.left + subject.width, subject.top + subject.height)
    )
    return Cutout(image, subject)


def visible_part(image: Image.Image) -> Box:
    """Return the box of the pixels with alpha of at least one half."""
    box = image.getchannel("A").point([0] * 128 + [255] * 128).getbbox()
    return Box(box[1], box[0], box[2] - box[0], box[3] - box[1]) if box else Box()


def hidden_colours(image: Image.Image) -> int:
    """Return the largest value of a colour under alpha 0."""
    pixels = np.asarray(image)
    return int(pixels[..., :3][pixels[..., 3] == 0].max(initial=0))


def off_by(one: Box, other: Box) -> int:
    return max(
        abs(one.left - other.left),
        abs(one.top - other.top),
        abs(one.left + one.width - other.left - other.width),
        abs(one.top + one.height - other.top - other.height),
    )


def photo_and_mask(size: Size = SIZE) -> tuple[Image.Image, NDArray[np.float32]]:
    truth = disc(size)
    return Image.fromarray(composed(truth, (210, 30, 30), (30, 40, 200))), coarse(truth)


def refiner(refine: Any) -> Refiner:
    return Refiner(RemovalOptions("lite", 2048, refine=refine), room=10**9)


@pytest.mark.parametrize("refine", ["none", "edges", "matting"])
def test_a_disc_is_cut_out(refine: Any) -> None:
    cutout = cut_out(photo_and_mask()[0], None, photo_and_mask()[1], refiner(refine))
    assert (cutout.image.mode, cutout.image.size) == ("RGBA", SIZE)
    assert cutout.image.getpixel((200, 150)) == (210, 30, 30, 255)
    assert cutout.image.getpixel((5, 5)) == (0, 0, 0, 0)
    assert off_by(cutout.subject, Box(60, 110, 180, 180)) <= 4


@pytest.mark.parametrize("refine", ["none", "edges", "matting"])
def test_colours_under_alpha_0_are_cleared(refine: Any) -> None:
    photo, mask = photo_and_mask()
    image = cut_out(photo, None, mask, refiner(refine)).image
    assert image.getchannel("A").getextrema() == (0, 255)
    assert hidden_colours(image) == 0


@pytest.mark.parametrize("refine", ["none", "edges", "matting"])
def test_the_images_own_alpha_is_multiplied_in(refine: Any) -> None:
    photo, mask = photo_and_mask()
    own = Image.new("L", SIZE, 128)
    own.paste(0, (0, 0, 200, 300))
    cutout = cut_out(photo, own, mask, refiner(refine))
    assert cutout.image.getpixel((150, 150)) == (0, 0, 0, 0)
    assert cutout.image.getpixel((250, 150)) == (210, 30, 30, 128)
    assert off_by(cutout.subject, Box(60, 200, 90, 180)) <= 4


@pytest.mark.parametrize("refine", ["none", "edges", "matting"])
@pytest.mark.parametrize("hidden", ["black", "white", "red"])
def test_colours_under_an_own_alpha_of_0_have_no_influence(hidden: str, refine: Any) -> None:
    photo, mask = photo_and_mask()
    own = Image.new("L", SIZE, 0)
    own.paste(255, (0, 0, 200, 300))
    expected = cut_out(photo, own, mask, refiner(refine)).image
    other = Image.composite(photo, Image.new("RGB", SIZE, hidden), own)
    assert cut_out(other, own, mask, refiner(refine)).image.tobytes() == expected.tobytes()


@pytest.mark.parametrize("refine", ["none", "edges", "matting"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2048), (2048, 1), (4, 1), (1, 4)])
def test_thin_images_are_cut_out(size: Size, refine: Any) -> None:
    cutout = cut_out(noise(size), Image.new("L", size, 255), np.ones((320, 320), np.float32), refiner(refine))
    assert cutout.image.getchannel("A").getextrema() == (255, 255)
    assert cutout.subject == Box(0, 0, *size)


@pytest.mark.parametrize("refine", ["none", "edges", "matting"])
def test_without_a_subject_the_cutout_is_empty(refine: Any) -> None:
    cutout = cut_out(noise(SIZE), None, np.zeros((320, 320), np.float32), refiner(refine))
    assert cutout.subject == Box()
    assert cutout.image.getextrema() == ((0, 0),) * 4


def test_without_options_the_cutout_is_unchanged() -> None:
    cutout = a_cutout()
    assert finish(cutout, options()) == Picture(cutout.image, cutout.subject)


def test_a_solid_background_leaves_no_alpha() -> None:
    image = finish(a_cutout(), options(background=GREEN)).image
    assert image.mode == "RGB"
    assert (image.getpixel((0, 0)), image.getpixel((180, 120))) == (GREEN[:3], (255, 0, 0))


def test_a_half_transparent_background_keeps_its_alpha() -> None:
    image = finish(a_cutout(), options(background=(10, 200, 30, 128))).image
    assert image.mode == "RGBA"
    assert (image.getpixel((0, 0)), image.getpixel((180, 120))) == ((10, 200, 30, 128), (255, 0, 0, 255))


def test_a_background_shines_through() -> None:
    cutout = a_cutout()
    cutout.image.putpixel((180, 120), (255, 0, 0, 128))
    pixel = finish(cutout, options(background=(0, 0, 255, 255))).image.getpixel((180, 120))
    assert pixel == pytest.approx((128, 0, 127), abs=1)


def test_a_background_of_alpha_0_is_none() -> None:
    image = finish(a_cutout(), options(background=(255, 0, 255, 0))).image
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)


@pytest.mark.parametrize("background", [None, (255, 0, 255, 0)])
def test_a_jpeg_has_a_white_background(background: Any) -> None:
    image = finish(a_cutout(), options(format="JPEG", background=background)).image
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_a_jpeg_has_the_requested_colour() -> None:
    assert finish(a_cutout(), options(format="JPEG", background=GREEN)).image.getpixel((0, 0)) == GREEN[:3]


@pytest.mark.parametrize("size", [(64, 32), (400, 300), (1000, 1000), (30, 2000)])
def test_a_background_image_covers_the_canvas(size: Size) -> None:
    image = finish(a_cutout(), options(), quarters(size)).image
    assert (image.mode, image.size, corners(image)) == ("RGB", SIZE, "RGBW")
    assert image.getpixel((180, 120)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1000, 300), (400, 900)])
def test_a_background_image_is_centred(size: Size) -> None:
    image = np.asarray(finish(a_cutout(subject=Box()), options(), quarters(size)).image).astype(int)
    assert image[:150, :195, 0].min() > 200
    assert image[:150, 205:, 0].max() < 50
    assert image[155:, :195, 2].min() > 200
    assert image[:145, :, 2].max() < 50


@pytest.mark.parametrize(("size", "at"), [((800, 300), (200, 0)), ((400, 900), (0, 300)), ((1600, 600), (400, 0))])
def test_a_background_image_is_clipped_at_both_sides(size: Size, at: tuple[int, int]) -> None:
    background = Image.new("RGB", size)
    background.paste("white", (*at, size[0] - at[0], size[1] - at[1]))
    image = finish(a_cutout(subject=Box()), options(), background).image
    assert np.asarray(image).min() > 230


def test_a_background_image_replaces_a_colour() -> None:
    assert corners(finish(a_cutout(), options(background=(9, 9, 9, 255)), quarters()).image) == "RGBW"


@settings(deadline=None, max_examples=50)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_any_background_covers_any_cutout(size: Size, background: Size) -> None:
    picture = finish(a_cutout(size, Box()), options(), Image.new("RGB", background, "lime"))
    assert picture.image.getextrema() == ((0, 0), (255, 255), (0, 0))


@pytest.mark.parametrize(
    ("words", "size", "subject"),
    [
        (["0px"] * 4, (80, 60), Box(0, 0, 80, 60)),
        (["10px"] * 4, (100, 80), Box(10, 10, 80, 60)),
        (["10%"] * 4, (96, 72), Box(6, 8, 80, 60)),
        (["1px", "2px", "3px", "4px"], (86, 64), Box(1, 4, 80, 60)),
        (["50%", "5px", "0px", "100px"], (185, 90), Box(30, 100, 80, 60)),
        (["1000px"] * 4, SIZE, SUBJECT),
        (["1000px", "0px", "0px", "0px"], (80, 160), Box(100, 0, 80, 60)),
    ],
)
def test_a_crop_has_the_requested_margins(words: list[str], size: Size, subject: Box) -> None:
    picture = finish(a_cutout(), options(crop=True, crop_margin=margins(*words)))
    assert (picture.image.size, picture.subject) == (size, subject)
    assert visible_part(picture.image) == subject


def test_cropping_without_a_subject_does_nothing() -> None:
    picture = finish(a_cutout(subject=Box()), options(crop=True, crop_margin=margins(*["5px"] * 4)))
    assert (picture.image.size, picture.subject) == (SIZE, Box())


lengths = st.builds(Length, st.floats(0, 500), st.just("px")) | st.builds(Length, st.floats(0, 50), st.just("%"))


@settings(deadline=None, max_examples=50)
@given(st.data(), st.tuples(lengths, lengths, lengths, lengths), st.none() | st.integers(1, 100))
def test_a_crop_is_inside_the_image_and_contains_the_subject(
    data: st.DataObject, margin: Any, max_width: int | None
) -> None:
    top, left = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 79))
    subject = Box(top, left, data.draw(st.integers(1, 80 - left)), data.draw(st.integers(1, 60 - top)))
    picture = finish(a_cutout((80, 60), subject), options(crop=True, crop_margin=margin, max_width=max_width))
    (width, height), box = picture.image.size, picture.subject
    assert width <= min(80, max_width or 80)
    assert height <= 60
    assert 0 <= box.left < box.left + box.width <= width
    assert 0 <= box.top < box.top + box.height <= height


@pytest.mark.parametrize(
    ("bounds", "size"),
    [
        ({"max_width": 200}, (200, 150)),
        ({"max_height": 100}, (133, 100)),
        ({"max_width": 200, "max_height": 60}, (80, 60)),
        ({"max_width": 400, "max_height": 300}, SIZE),
        ({"max_width": 4000, "max_height": 4000}, SIZE),
    ],
)
@pytest.mark.parametrize("mask_only", [False, True])
def test_a_cutout_is_scaled_down_but_never_up(bounds: dict[str, int], size: Size, mask_only: bool) -> None:
    assert finish(a_cutout(), options(mask_only=mask_only, **bounds)).image.size == size


@pytest.mark.parametrize("max_width", [50, 133, 200, 399])
@pytest.mark.parametrize("crop", [False, True])
def test_the_subjects_box_is_scaled_with_the_image(crop: bool, max_width: int) -> None:
    chosen = options(crop=crop, crop_margin=margins(*["40px"] * 4), max_width=max_width)
    picture = finish(a_cutout(), chosen)
    assert off_by(picture.subject, visible_part(picture.image)) <= 1


@pytest.mark.parametrize("max_width", [20, 133, 390])
def test_colours_under_alpha_0_are_still_cleared_after_scaling(max_width: int) -> None:
    image = noise(SIZE, channels=4)
    alpha = noise(SIZE, channels=1, seed=2).point([0] * 200 + [255] * 56)
    scattered = Image.composite(image, Image.new("RGBA", SIZE), alpha)
    scattered.putalpha(alpha)
    assert hidden_colours(finish(Cutout(scattered, Box()), options(max_width=max_width)).image) == 0


def test_mask_only_returns_the_mask() -> None:
    picture = finish(a_cutout(), options(mask_only=True))
    assert (picture.image.mode, picture.image.size, picture.subject) == ("L", SIZE, SUBJECT)
    assert (picture.image.getpixel((0, 0)), picture.image.getpixel((180, 120))) == (0, 255)


def test_a_mask_has_no_background() -> None:
    chosen = options(mask_only=True, background=GREEN, format="JPEG")
    assert finish(a_cutout(), chosen, quarters()).image.getextrema() == (0, 255)


def test_the_mask_is_cropped() -> None:
    assert finish(a_cutout(), options(mask_only=True, crop=True)).image.getextrema() == (255, 255)


def test_the_given_cutout_is_not_changed() -> None:
    cutout = a_cutout()
    before = cutout.image.tobytes()
    finish(cutout, options(background=GREEN, crop=True, max_width=50), quarters())
    assert cutout.image.tobytes() == before


def test_colours_are_extended_past_the_edge() -> None:
    colours = extend_colours(a_cutout().image)
    assert (colours.mode, colours.size) == ("RGB", SIZE)
    assert colours.getpixel((180, 120)) == (255, 0, 0)
    assert colours.getpixel((147, 120)) == (255, 0, 0)
    assert colours.getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_colours_are_extended_unchanged() -> None:
    image = a_cutout().image
    image.paste((100, 50, 20, 128), (150, 100, 230, 160))
    assert extend_colours(image).getpixel((147, 120)) == (100, 50, 20)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_colours_of_thin_images_are_extended(size: Size) -> None:
    assert extend_colours(Image.new("RGBA", size, (9, 8, 7, 255))).getextrema() == ((9, 9), (8, 8), (7, 7))
