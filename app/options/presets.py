"""Presets: named sets of parameters, as text fields that are parsed like those of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from app.errors import InvalidParameter
from app.options.parameters import PARAMETERS, not_one_of, parse_fields
from app.settings import SettingProblem, SettingsError

__all__ = ["BUILT_IN", "Preset", "apply_preset", "load_presets"]

Preset = Mapping[str, str]
Value = TypeVar("Value")
# Names of folders in ZIPs and of the command `remove`, and separated by commas in `presets` of a job.
_NAME = re.compile(r"[^\s./\\,]([^/\\,]{0,62}[^\s./\\,])?")


def _preset(format: str, quality: int, size: tuple[int, int] | None = None, **more: str) -> Preset:
    bounds = {"max_width": str(size[0]), "max_height": str(size[1])} if size else {}
    return {"format": format, "quality": str(quality), **bounds, **more}


BUILT_IN: dict[str, Preset] = {
    "mobile": _preset("WEBP", 70, (800, 600)),
    "desktop": _preset("JPEG", 85, (1920, 1080)),
    "thumbnail": _preset("WEBP", 60, (300, 300)),
    "web": _preset("JPEG", 80, (1200, 800)),
    "social": _preset("PNG", 90, (1080, 1080)),
    "email": _preset("JPEG", 75, (600, 400)),
    "archival": _preset("PNG", 95, full_size="true"),
    "print": _preset("PNG", 95, full_size="true"),
    # Marketplaces; docs/api.md names the source of each figure.
    "amazon": _preset("JPEG", 90, background="white", canvas="2000x2000", scale="85%"),
    "ebay": _preset("JPEG", 90, background="white", canvas="1600x1600", scale="85%"),
    "etsy": _preset("JPEG", 90, (2000, 2000), background="white"),
    "shopify": _preset("JPEG", 90, background="white", canvas="2048x2048", scale="85%"),
    "instagram": _preset("JPEG", 90, background="white", canvas="1080x1080", scale="85%"),
    # Head and shoulders, with a margin at the top and the sides.
    "id-photo": _preset(
        "JPEG", 90, (800, 800), background="white", crop="true", portrait="true", scale="85%", position="50% 100%"
    ),
}


def load_presets(path: Path | None) -> dict[str, Preset]:
    """Return the built-in presets and those of a JSON file `{"name": {"parameter": value}}`.

    Raise SettingsError if the file is invalid.
    """
    if path is None:
        return BUILT_IN
    try:
        # Some editors begin a file with a byte order mark.
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
        if not isinstance(content, dict):
            raise ValueError("the file must contain one JSON object")
        return BUILT_IN | _unique([(_name(name), _checked(name, fields)) for name, fields in content.items()])
    except (OSError, ValueError, RecursionError, InvalidParameter) as error:
        raise SettingsError(SettingProblem.of("PRESETS_FILE", str(path), str(error))) from None


def _unique(pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    content: dict[str, Value] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{name!r} occurs twice")
        content[name] = value
    return content


def _name(name: str) -> str:
    """Return a preset's name as `apply_preset` looks it up; raise ValueError for one that no request can name."""
    if not (name.isprintable() and _NAME.fullmatch(name)):
        raise ValueError(
            f"preset {name!r} must have a name of 1 to 64 printable characters without slashes and commas, "
            "and without a space or a dot at its ends"
        )
    return name.lower()


def _checked(name: str, fields: object) -> Preset:
    if not isinstance(fields, dict):
        raise ValueError(f"preset {name!r} must be an object")
    if unknown := sorted(set(fields) - set(PARAMETERS)):
        raise ValueError(f"preset {name!r} has unknown parameters: {', '.join(unknown)}")
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()}
    parse_fields(texts, PARAMETERS)
    return texts


def apply_preset(
    fields: Mapping[str, str], presets: Mapping[str, Preset], *, parameter: str = "preset"
) -> dict[str, str]:
    """Return the fields, merged over those of their preset; raise InvalidParameter about `parameter`."""
    explicit = dict(fields)
    name = explicit.pop("preset", None)
    if name is None:
        return explicit
    preset = presets.get(name.strip().lower())
    if preset is None:
        raise not_one_of(parameter, name, presets)
    return {**preset, **explicit}
