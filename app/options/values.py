"""Kinds of values: a parser of a request's text, and the JSON Schema for the API description.

Parsers raise ValueError with a description of the allowed values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import webcolors

from app.removal import RGBA, Blur, Gradient, Length

__all__ = [
    "CENTRE",
    "DECIMAL",
    "Kind",
    "background",
    "boolean",
    "canvas",
    "choice",
    "colour",
    "margins",
    "position",
    "scale",
    "text",
    "whole_number",
]

T = TypeVar("T")

TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
# Thousandths of the longer side.
DEFAULT_BLUR = 20
DEFAULT_ANGLE = 180
CANVAS_SIDE = range(100, 4001)
CENTRE = (0.5, 0.5)
MAX_MARGIN = {"px": 500.0, "%": 50.0}
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_MARGIN = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)(px|%|)", re.ASCII)
DECIMAL = r"[0-9]{1,6}(?:\.[0-9]{1,4})?"
_PERCENT = re.compile(rf"({DECIMAL})%", re.ASCII)
_CANVAS = re.compile(r"([0-9]{3,4})[x×]([0-9]{3,4})", re.ASCII)
_BLUR = re.compile(r"blur(?::([0-9]{1,3}))?", re.ASCII)
_ANGLE = re.compile(r"([0-9]{1,3})(?:deg)?", re.ASCII)
_HEX = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A parser, and the JSON Schema of its canonical input (it may accept other spellings)."""

    parse: Callable[[str], T]
    schema: Mapping[str, Any]

    def __call__(self, text: str) -> T:
        """Parse a text; raise ValueError with the allowed values."""
        return self.parse(text)


def _boolean(text: str) -> bool:
    """Parse true/false, 1/0, yes/no, on/off in any case."""
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("must be true or false")
    return word in TRUE


def whole_number(minimum: int, maximum: int) -> Kind[int]:
    """Return the kind for whole numbers in a range."""

    def parse(text: str) -> int:
        digits = text.strip()
        if not _NUMBER.fullmatch(digits) or not minimum <= int(digits) <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return int(digits)

    return Kind(parse, {"type": "integer", "minimum": minimum, "maximum": maximum})


def choice(*names: str, also: dict[str, str] | None = None) -> Kind[str]:
    """Return the kind for a choice of names in any case; `also` maps other spellings to them."""
    spellings = {name.lower(): name for name in names} | {other.lower(): name for other, name in (also or {}).items()}

    def parse(text: str) -> str:
        name = spellings.get(text.strip().lower())
        if name is None:
            raise ValueError(f"must be one of {', '.join(names)}")
        return name

    return Kind(parse, {"type": "string", "enum": [*names, *(also or {})]})


def _colour(text: str) -> RGBA | None:
    """Parse #rgb[a], #rrggbb[aa] (with or without #) or a CSS colour name to RGBA, `transparent` to None."""
    word = text.strip().lower()
    if word == "transparent":
        return None
    if match := _HEX.fullmatch(word):
        digits = match[1]
        if len(digits) <= 4:
            digits = "".join(digit * 2 for digit in digits)
        red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
        return red, green, blue, alpha
    if word == "rebeccapurple":  # CSS Color Level 4; webcolors has Level 3
        return 102, 51, 153, 255
    try:
        named = webcolors.name_to_rgb(word)
    except ValueError:
        raise ValueError("must be #rgb, #rgba, #rrggbb, #rrggbbaa, a CSS colour name or transparent") from None
    return named.red, named.green, named.blue, 255


def _background(text: str) -> RGBA | Blur | Gradient | None:
    """Parse a colour, `blur`, `blur:STRENGTH`, or `gradient:COLOUR,COLOUR[,ANGLE]`."""
    word = text.strip().lower()
    if match := _BLUR.fullmatch(word):
        strength = int(match[1] or DEFAULT_BLUR)
        if not 1 <= strength <= 100:
            raise ValueError("must have a blur from 1 to 100, like blur:20")
        return Blur(strength)
    if word.startswith("gradient:"):
        return _gradient(word.removeprefix("gradient:"))
    try:
        return _colour(word)
    except ValueError as error:
        raise ValueError(f"{error}, blur:NN or gradient:COLOUR,COLOUR") from None


def _gradient(text: str) -> Gradient:
    words = [word.strip() for word in text.split(",")]
    angle = _ANGLE.fullmatch(words[2]) if len(words) == 3 else None
    if len(words) not in {2, 3} or (len(words) == 3 and not angle) or (angle and int(angle[1]) > 360):
        raise ValueError("must be two colours and an optional angle from 0 to 360, like gradient:white,#ccc,90")
    start, end = (_colour(word) or (255, 255, 255, 0) for word in words[:2])
    return Gradient(start, end, int(angle[1]) if angle else DEFAULT_ANGLE)


def _canvas(text: str) -> tuple[int, int]:
    """Parse WxH in px."""
    match = _CANVAS.fullmatch(text.strip().lower())
    if not match or not {int(match[1]), int(match[2])} <= set(CANVAS_SIDE):
        raise ValueError(f"must be WxH, each from {CANVAS_SIDE[0]} to {CANVAS_SIDE[-1]} px, like 2000x2000")
    return int(match[1]), int(match[2])


def _scale(text: str) -> float | None:
    """Parse 10% to 100% to 0.1..1, `original` to None."""
    word = text.strip().lower()
    if word == "original":
        return None
    match = _PERCENT.fullmatch(word)
    if not match or not 10 <= float(match[1]) <= 100:
        raise ValueError("must be 10% to 100%, or original")
    return float(match[1]) / 100


def _position(text: str) -> tuple[float, float] | None:
    """Parse one or two percentages (across, down) to 0..1 each, `center` to the middle, `original` to None."""
    word = text.strip().lower()
    if word == "original":
        return None
    if word == "center":
        return CENTRE
    matches = [_PERCENT.fullmatch(part) for part in word.replace(",", " ").split()]
    shares = [float(match[1]) / 100 for match in matches if match]
    if len(matches) not in {1, 2} or len(shares) != len(matches) or max(shares) > 1:
        raise ValueError("must be original, center, or one or two percentages from 0% to 100%, like 50% 100%")
    return shares[0], shares[-1]


def _margins(text: str) -> tuple[Length, Length, Length, Length]:
    """Parse 1, 2 or 4 lengths like 30px or 10% to (top, right, bottom, left), the order of CSS."""
    lengths = [_margin(word) for word in text.replace(",", " ").lower().split()]
    if len(lengths) == 1:
        return (lengths[0],) * 4
    if len(lengths) == 2:
        return lengths[0], lengths[1], lengths[0], lengths[1]
    if len(lengths) == 4:
        return lengths[0], lengths[1], lengths[2], lengths[3]
    raise ValueError("must be 1, 2 or 4 lengths like 30px or 10%")


def _margin(word: str) -> Length:
    match = _MARGIN.fullmatch(word)
    unit = "%" if match and match[2] == "%" else "px"
    if not match or float(match[1]) > MAX_MARGIN[unit]:
        raise ValueError("must be lengths of at most 500px or 50%, like 30px or 10%")
    return Length(float(match[1]), unit)  # type: ignore[arg-type]


boolean = Kind(_boolean, {"type": "boolean"})
text = Kind(str, {"type": "string"})
colour = Kind(
    _colour, {"type": "string", "pattern": f"^(?:{_HEX.pattern}|[A-Za-z]+)$", "examples": ["ff8800", "white"]}
)
margins = Kind(
    _margins,
    {"type": "string", "pattern": f"^{_MARGIN.pattern}(?: {_MARGIN.pattern}){{0,3}}$", "examples": ["30px", "5% 10%"]},
)
canvas = Kind(_canvas, {"type": "string", "pattern": f"^{_CANVAS.pattern}$", "examples": ["2000x2000"]})
scale = Kind(_scale, {"type": "string", "pattern": f"^(?:original|{_PERCENT.pattern})$", "examples": ["80%"]})
position = Kind(
    _position,
    {
        "type": "string",
        "pattern": f"^(?:original|center|{_PERCENT.pattern}(?: {_PERCENT.pattern})?)$",
        "examples": ["center", "50% 100%"],
    },
)
background = Kind(
    _background,
    {
        "type": "string",
        "pattern": f"^(?:{_HEX.pattern}|[A-Za-z]+|{_BLUR.pattern}|gradient:[#0-9A-Za-z, ]+)$",
        "examples": ["ff8800", "white", "blur:20", "gradient:white,#cccccc,90"],
    },
)
