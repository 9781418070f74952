"""remove.bg's dialect: parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.http.removebg.parameters import PARAMETERS
from app.removal import Canvas, Length
from tests.support.doubles import FakePool
from tests.support.removebg import BASE64, DEFAULTS, PREVIEW, URL, failure, post, upload

SOURCES = {"image_file", "image_file_b64", "image_url"}
BACKGROUND_SOURCES = {"bg_image_file", "bg_image_url"}
CODES_400 = (
    "failed_bg_download failed_image_download failed_to_read_image file_too_large invalid_bg_color "
    "invalid_bg_image_url invalid_channels invalid_crop_margin invalid_dimensions invalid_file_type invalid_format "
    "invalid_image_url invalid_position invalid_roi invalid_scale invalid_semitransparency invalid_size "
    "missing_source multiple_bg_sources multiple_sources resolution_too_high roi_exceeds_bounds roi_region_empty "
    "unknown_foreground"
).split()


def canvas(**changes: Any) -> dict[str, Any]:
    return {"canvas": replace(Canvas(PREVIEW), **changes)}


def px(*values: float) -> tuple[Length, ...]:
    return tuple(Length(value) for value in values)


# (parameter, text, changed options)
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    *[("size", name, {}) for name in ("preview", "small", "regular", "Preview")],
    ("size", "medium", canvas(max_pixels=1_500_000)),
    ("size", "hd", canvas(max_pixels=4_000_000)),
    *[("size", name, canvas(max_pixels=25_000_000)) for name in ("full", "4k", "4K", "50MP", "50mp", "auto")],
    ("type", "person", {}),
    ("type_level", "none", {}),
    ("format", "auto", {}),
    ("format", "png", {"format": "PNG"}),
    ("format", "JPG", {"format": "JPEG"}),
    ("format", "webp", {"format": "WEBP"}),
    ("format", "zip", {"format": "ZIP"}),
    ("roi", "10px 20px 400px 300px", canvas(roi=px(10, 20, 400, 300))),
    ("roi", "0% 12.5% 100% 90px", canvas(roi=(Length(0, "%"), Length(12.5, "%"), Length(100, "%"), Length(90)))),
    ("crop", "true", {"crop": True}),
    ("crop", "1", {"crop": True}),
    ("crop_margin", "30px", {"crop_margin": px(30, 30, 30, 30)}),
    ("crop_margin", "10px 20px 30px 40px", {"crop_margin": px(10, 20, 30, 40)}),
    ("scale", "original", {}),
    ("scale", "50%", canvas(scale=0.5, position=(0.5, 0.5))),
    ("scale", "10%", canvas(scale=0.1, position=(0.5, 0.5))),
    ("scale", "100%", canvas(scale=1.0, position=(0.5, 0.5))),
    ("position", "original", {}),
    ("position", "center", canvas(position=(0.5, 0.5))),
    ("position", "30%", canvas(position=(0.3, 0.3))),
    ("position", "0% 100%", canvas(position=(0.0, 1.0))),
    ("channels", "rgba", {}),
    ("channels", "alpha", {"mask_only": True}),
    *[("bg_color", text, {"background": (129, 212, 250, 255)}) for text in ("81d4fa", "#81d4fa", "#81D4FAff")],
    ("bg_color", "f00", {"background": (255, 0, 0, 255)}),
    ("bg_color", "f008", {"background": (255, 0, 0, 136)}),
    ("bg_color", "green", {"background": (0, 128, 0, 255)}),
    ("add_shadow", "true", {}),
    ("shadow_type", "3D", {}),
    ("shadow_opacity", "70", {}),
    ("semitransparency", "false", {}),
    *[(name, "", {}) for name in PARAMETERS],
]
BAD = [
    ("size", "huge"),
    ("type", "planet"),
    ("type_level", "3"),
    ("format", "gif"),
    ("roi", "10px 20px 400px"),
    ("roi", "0 0 400 300"),
    ("roi", "-1px 0px 400px 300px"),
    ("roi", "0px 0px 400px 300em"),
    ("crop", "perhaps"),
    ("crop_margin", "51%"),
    ("crop_margin", "501px"),
    ("crop_margin", "1px 2px 3px"),
    ("scale", "9%"),
    ("scale", "101%"),
    ("scale", "50"),
    ("position", "left"),
    ("position", "101%"),
    ("position", "1% 2% 3%"),
    ("channels", "rgb"),
    ("bg_color", "nocolour"),
    ("add_shadow", "perhaps"),
    ("semitransparency", "perhaps"),
]


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client()


@pytest.mark.parametrize("place", ["multipart", "form", "json"])
@pytest.mark.parametrize(("name", "text", "change"), GOOD)
def test_a_parameter_is_accepted_in_every_place(
    name: str, text: str, change: dict[str, object], place: str, client: FlaskClient, fake_pool: FakePool
) -> None:
    if place == "multipart":
        response = client.post(URL, data={name: text} | {"image_file": upload()})
    elif place == "form":
        response = client.post(URL, data={name: text} | {"image_file_b64": BASE64})
    else:
        response = client.post(URL, json={name: text} | {"image_file_b64": BASE64})
    assert response.status_code == 200, response.text
    assert fake_pool.options == replace(DEFAULTS, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_an_invalid_value_has_the_code_of_its_parameter(
    name: str, text: str, client: FlaskClient, fake_pool: FakePool
) -> None:
    fields: dict[str, Any] = {name: text}
    response = post(client, **fields)
    assert failure(response) == (400, PARAMETERS[name].error)
    assert f"'{name}'" in response.json["errors"][0]["title"]  # type: ignore[index]
    assert fake_pool.requests == []


def test_each_parameter_has_valid_and_invalid_cases() -> None:
    free = SOURCES | BACKGROUND_SOURCES | {"shadow_type", "shadow_opacity"}
    assert {name for name, *_ in GOOD} == set(PARAMETERS) == {name for name, _ in BAD} | free


def test_every_code_of_a_parameter_is_known_to_clients() -> None:
    codes = {parameter.error for parameter in PARAMETERS.values()} - {"invalid_parameter"}
    assert codes <= set(CODES_400)


def test_scale_with_the_original_position(client: FlaskClient, fake_pool: FakePool) -> None:
    post(client, scale="50%", position="original")
    assert fake_pool.options.canvas == Canvas(PREVIEW, scale=0.5)


def test_json_bools_and_nulls_are_understood(client: FlaskClient, fake_pool: FakePool) -> None:
    client.post(URL, json={"image_file_b64": BASE64, "crop": True, "roi": None, "image_url": None})
    assert fake_pool.options == replace(DEFAULTS, crop=True)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"type": "person"}, "type"),
        ({"add_shadow": "true", "shadow_type": "drop"}, "add_shadow, shadow_type"),
        ({"shadow_opacity": "50"}, "shadow_opacity"),
        ({"semitransparency": "true"}, "semitransparency"),
        ({"channels": "alpha", "bg_color": "red"}, "bg_color"),
        ({"crop_margin": "10px"}, "crop_margin"),
        ({"crop_margin": "10px", "crop": "false"}, "crop_margin"),
        ({"bg_image_file": "text"}, "bg_image_file"),
        ({"zoom": "2", "other": upload()}, "other, zoom"),
        ({"type": "auto", "add_shadow": "false", "shadow_type": "none", "type_level": "2", "roi": ""}, None),
        ({"crop_margin": "10px", "crop": "true"}, None),
    ],
)  # fmt: skip
def test_parameters_without_effect_are_listed(fields: dict[str, Any], names: str | None, client: FlaskClient) -> None:
    assert post(client, **fields).headers.get("X-Ignored-Params") == names


@pytest.mark.parametrize(
    ("fields", "type_"), [({}, "other"), ({"type_level": "2"}, "other"), ({"type": "car"}, "other")]
)
def test_the_type_is_always_other(fields: dict[str, Any], type_: str, client: FlaskClient) -> None:
    assert post(client, **fields).headers["X-Type"] == type_


def test_without_a_type_level_there_is_no_type(client: FlaskClient) -> None:
    assert "X-Type" not in post(client, type_level="none").headers
