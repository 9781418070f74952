"""Layout of the README's picture."""

from __future__ import annotations

from PIL import Image

from tools.readme_picture import GREY, WHITE, side_by_side


def test_the_result_is_right_of_the_photo_on_squares() -> None:
    before = Image.new("RGB", (32, 32), "red")
    after = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    after.putpixel((0, 0), (0, 0, 255, 255))
    picture = side_by_side(before, after)
    assert picture.size == (64, 32)
    assert picture.getpixel((0, 0)) == (255, 0, 0)
    assert picture.getpixel((32, 0)) == (0, 0, 255)
    assert {picture.getpixel((32 + x, 1)) for x in (1, 17)} == {GREY[:3], WHITE[:3]}
