"""Presets: built-in ones as documented, and files of presets with the same rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.errors import InvalidParameter
from app.options.parameters import PARAMETERS, parse_native
from app.options.presets import BUILT_IN, apply_preset, load_presets
from app.removal import Canvas
from app.settings import SettingsError


@pytest.mark.parametrize(
    ("name", "format", "quality", "bounds"),
    [
        ("mobile", "WEBP", 70, (800, 600)),
        ("desktop", "JPEG", 85, (1920, 1080)),
        ("thumbnail", "WEBP", 60, (300, 300)),
        ("web", "JPEG", 80, (1200, 800)),
        ("social", "PNG", 90, (1080, 1080)),
        ("email", "JPEG", 75, (600, 400)),
        ("archival", "PNG", 95, (None, None)),
        ("print", "PNG", 95, (None, None)),
        ("id-photo", "JPEG", 90, (800, 800)),
    ],
)
def test_built_in_presets(name: str, format: str, quality: int, bounds: tuple[int | None, int | None]) -> None:
    fields = apply_preset({"preset": name.upper()}, BUILT_IN)
    options = parse_native(fields, models=("lite",), longest_side=2048, accepted_format="PNG").options
    assert (options.format, options.quality, (options.max_width, options.max_height)) == (format, quality, bounds)


def test_an_id_photo_is_cropped_on_white() -> None:
    assert (BUILT_IN["id-photo"]["background"], BUILT_IN["id-photo"]["crop"]) == ("white", "true")


@pytest.mark.parametrize("name", ["archival", "print"])
def test_presets_for_originals_keep_the_photos_size(name: str) -> None:
    assert BUILT_IN[name]["full_size"] == "true"


@pytest.mark.parametrize(
    ("name", "canvas"),
    [("amazon", (2000, 2000)), ("ebay", (1600, 1600)), ("shopify", (2048, 2048)), ("instagram", (1080, 1080))],
)
def test_presets_of_marketplaces_have_their_canvas(name: str, canvas: tuple[int, int]) -> None:
    fields = apply_preset({"preset": name}, BUILT_IN)
    options = parse_native(fields, models=("lite",), longest_side=800, accepted_format="PNG").options
    assert (options.format, options.background, options.full_size) == ("JPEG", (255, 255, 255, 255), True)
    assert options.canvas == Canvas(25_000_000, scale=0.85, position=(0.5, 0.5), size=canvas)


def test_a_preset_for_etsy_bounds_the_longer_side() -> None:
    assert (BUILT_IN["etsy"]["max_width"], BUILT_IN["etsy"]["max_height"]) == ("2000", "2000")


def test_a_file_may_have_a_canvas(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    shop = {"canvas": "1200x900", "scale": "80%", "position": "50% 100%", "background": "gradient:white,#ccc"}
    path.write_text(json.dumps({"shop": shop}))
    assert load_presets(path)["shop"] == shop


def test_an_id_photo_shows_head_and_shoulders_with_a_margin() -> None:
    options = parse_native(BUILT_IN["id-photo"], models=("lite",), longest_side=800, accepted_format="PNG").options
    assert options.portrait
    assert options.canvas == Canvas(25_000_000, scale=0.85, position=(0.5, 1.0))
    assert not options.full_size


def test_explicit_parameters_win() -> None:
    assert apply_preset({"preset": "mobile", "quality": "33"}, BUILT_IN)["quality"] == "33"


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidParameter, match="mobile, desktop"):
        apply_preset({"preset": "huge"}, BUILT_IN)


def test_a_file_adds_and_replaces_presets(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text(json.dumps({"shop": {"format": "webp", "crop": True, "quality": 50}, "web": {"quality": 11}}))
    presets = load_presets(path)
    assert presets["shop"] == {"format": "webp", "crop": "true", "quality": "50"}
    assert presets["web"] == {"quality": "11"}
    assert presets["mobile"] == BUILT_IN["mobile"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "PRESETS_FILE"),
        ("[]", "one JSON object"),
        ('{"shop": 3}', "'shop' must be an object"),
        ('{"shop": {"qualty": 3}}', "qualty"),
        ('{"shop": {"quality": 3}}', "from 10 to 100"),
        ('{"shop": {"format": "bmp"}}', "PNG, JPEG"),
        ('{"../shop": {}}', "'../shop' must have a name"),
        ('{"shop, large": {}}', "'shop, large' must have a name"),
        ('{"": {}}', "'' must have a name"),
        ('{" shop": {}}', "' shop' must have a name"),
        ('{"shop.": {}}', "'shop.' must have a name"),
        ('{"..": {}}', "'..' must have a name"),
        ('{"shop\\\\large": {}}', "must have a name"),
        ('{"\\u001b[31m": {}}', "must have a name"),
        (json.dumps({"x" * 65: {}}), "must have a name"),
        ('{"shop": {}, "shop": {}}', "'shop' occurs twice"),
        ('{"shop": {}, "Shop": {}}', "'shop' occurs twice"),
        ('{"shop": {"crop": true, "crop": false}}', "'crop' occurs twice"),
        ("[" * 100_000, "PRESETS_FILE"),
    ],
)
def test_an_invalid_file_stops_the_start_with_a_reason(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=reason):
        load_presets(path)


@pytest.mark.parametrize("name", ["Shop", "shop 2", "größe", "a", "b_", "x.y-z", "a|b", "x" * 64])
def test_a_preset_of_a_file_is_found_by_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text(json.dumps({name: {"quality": 11}}))
    assert apply_preset({"preset": name}, load_presets(path)) == {"quality": "11"}


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text('{"shop": {"quality": 11}}', encoding="utf-8-sig")
    assert load_presets(path)["shop"] == {"quality": "11"}


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PRESETS_FILE"):
        load_presets(tmp_path / "none.json")


def test_presets_use_known_parameters() -> None:
    assert {key for preset in BUILT_IN.values() for key in preset} <= set(PARAMETERS)
