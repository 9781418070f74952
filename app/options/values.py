"""Kinds of values: a parser of a request's text, and the JSON Schema for the API description.

Parsers raise ValueError with a description of the allowed values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import webcolors

from app.removal import RGBA, Length

__all__ = ["Kind", "boolean", "choice", "colour", "margins", "text", "whole_number"]

T = TypeVar("T")

TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
MAX_MARGIN = {"px": 500.0, "%": 50.0}
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_MARGIN = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)(px|%|)", re.ASCII)
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
