"""Parsing of text to values: valid, boundary and invalid texts."""

from __future__ import annotations

from typing import Any

import pytest

from app.options import values
from app.removal import Blur, Gradient, Length

L = Length


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        ("yes", True),
        ("on", True),
        (" false ", False),
        ("0", False),
        ("no", False),
        ("off", False),
    ],
)
def test_boolean(text: str, value: bool) -> None:
    assert values.boolean(text) is value


@pytest.mark.parametrize("text", ["2", "maybe", "truefalse", "-", "t"])
def test_invalid_boolean(text: str) -> None:
    with pytest.raises(ValueError, match="true or false"):
        values.boolean(text)


@pytest.mark.parametrize(("text", "value"), [("10", 10), ("100", 100), (" 85 ", 85), ("0085", 85)])
def test_whole_number(text: str, value: int) -> None:
    assert values.whole_number(10, 100)(text) == value


@pytest.mark.parametrize("text", ["9", "101", "-10", "+20", "1e2", "50.0", "85%", "١٢", "9" * 5000, "0x20"])
def test_invalid_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="from 10 to 100"):
        values.whole_number(10, 100)(text)


@pytest.mark.parametrize("text", ["jpg", "JPG", "Jpeg", " JPEG "])
def test_choice_in_any_case_and_spelling(text: str) -> None:
    assert values.choice("PNG", "JPEG", also={"JPG": "JPEG"})(text) == "JPEG"


@pytest.mark.parametrize("text", ["bmp", "png\n.", "p ng"])
def test_invalid_choice(text: str) -> None:
    with pytest.raises(ValueError, match="PNG, JPEG"):
        values.choice("PNG", "JPEG")(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#fff", (255, 255, 255, 255)),
        ("0f08", (0, 255, 0, 136)),
        ("#102030", (16, 32, 48, 255)),
        ("#10203040", (16, 32, 48, 64)),
        ("RebeccaPurple", (102, 51, 153, 255)),
        ("white", (255, 255, 255, 255)),
        ("Transparent", None),
    ],
)
def test_colour(text: str, value: Any) -> None:
    assert values.colour(text) == value


WHITE, RED = (255, 255, 255, 255), (255, 0, 0, 255)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("red", RED),
        ("transparent", None),
        ("blur", Blur(20)),
        (" Blur:100 ", Blur(100)),
        ("gradient:white, red", Gradient(WHITE, RED, 180)),
        ("gradient:#fff,f00,45deg", Gradient(WHITE, RED, 45)),
        ("gradient:transparent,red,360", Gradient((255, 255, 255, 0), RED, 360)),
    ],
)
def test_background(text: str, value: Any) -> None:
    assert values.background(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("blur:101", "1 to 100"),
        ("blur:", "gradient:COLOUR,COLOUR"),
        ("gradient:red", "two colours"),
        ("gradient:red,white,361", "two colours"),
        ("gradient:red,white,90,1", "two colours"),
        ("gradient:red,nocolour", "CSS colour name"),
    ],
)
def test_invalid_background(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        values.background(text)


@pytest.mark.parametrize(("text", "value"), [("100x4000", (100, 4000)), (" 2000X1500 ", (2000, 1500))])
def test_canvas(text: str, value: Any) -> None:
    assert values.canvas(text) == value


@pytest.mark.parametrize("text", ["99x100", "100x4001", "100", "100x", "100x100x100", "1e3x100"])
def test_invalid_canvas(text: str) -> None:
    with pytest.raises(ValueError, match="each from 100 to 4000"):
        values.canvas(text)


@pytest.mark.parametrize("text", ["#ff", "#fffff", "#ggg", "nocolour", "rgb(1,2,3)", "##fff", "#fff\nx"])
def test_invalid_colour(text: str) -> None:
    with pytest.raises(ValueError, match="CSS colour name"):
        values.colour(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", (L(0), L(0), L(0), L(0))),
        ("10px", (L(10), L(10), L(10), L(10))),
        ("5% 10px", (L(5, "%"), L(10), L(5, "%"), L(10))),
        ("1px 2px 3px 4px", (L(1), L(2), L(3), L(4))),
        ("1px,2px,3px,4px", (L(1), L(2), L(3), L(4))),
        ("50% 500px", (L(50, "%"), L(500), L(50, "%"), L(500))),
        ("2.5%", (L(2.5, "%"),) * 4),
    ],
)
def test_margins(text: str, value: Any) -> None:
    assert values.margins(text) == value


@pytest.mark.parametrize("text", [" ", "1px 2px 3px", "51%", "501px", "-1px", "10em", "px", "1 2 3 4 5", "1e1px"])
def test_invalid_margins(text: str) -> None:
    with pytest.raises(ValueError, match="10%"):
        values.margins(text)
