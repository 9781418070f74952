"""Text from a request to a checked value; each function raises ValueError with what it wants instead."""

from __future__ import annotations

import re
from collections.abc import Callable

import webcolors

from app.engine.messages import RGBA, Length

__all__ = ["boolean", "choice", "colour", "margins", "whole_number"]

TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}
MOST_MARGIN = {"px": 500.0, "%": 50.0}
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_MARGIN = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)(px|%|)", re.ASCII)
_HEX = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.ASCII)


def boolean(text: str) -> bool:
    """Parse true/false, 1/0, yes/no, on/off in any case."""
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("must be true or false")
    return word in TRUE


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in a range."""

    def parse(text: str) -> int:
        digits = text.strip()
        if not _NUMBER.fullmatch(digits) or not least <= int(digits) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(digits)

    return parse


def choice(*names: str, also: dict[str, str] | None = None) -> Callable[[str], str]:
    """Return a parser of one of some names in any case; `also` maps further spellings to them."""
    spellings = {name.lower(): name for name in names} | {other.lower(): name for other, name in (also or {}).items()}

    def parse(text: str) -> str:
        name = spellings.get(text.strip().lower())
        if name is None:
            raise ValueError(f"must be one of {', '.join(names)}")
        return name

    return parse


def colour(text: str) -> RGBA | None:
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
    if word == "rebeccapurple":  # CSS Color Level 4; webcolors knows Level 3
        return 102, 51, 153, 255
    try:
        named = webcolors.name_to_rgb(word)
    except ValueError:
        raise ValueError("must be #rgb, #rgba, #rrggbb, #rrggbbaa, a CSS colour name or transparent") from None
    return named.red, named.green, named.blue, 255


def margins(text: str) -> tuple[Length, Length, Length, Length]:
    """Parse 1, 2 or 4 lengths like 30px or 10% to (top, right, bottom, left), as CSS orders them."""
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
    if not match or float(match[1]) > MOST_MARGIN[unit]:
        raise ValueError("must be lengths of at most 500px or 50%, like 30px or 10%")
    return Length(float(match[1]), unit)  # type: ignore[arg-type]
