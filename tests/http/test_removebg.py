"""remove.bg's dialect: parameters, bodies, headers, answers and errors."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from app.errors import DownloadFailed, ServiceError, UrlRefused, error_codes
from app.fetch.url_fetcher import UrlFetcher
from app.http.removebg.errors import CODES
from app.http.removebg.parameters import PARAMETERS
from app.options.parameters import PARAMETERS as NATIVE
from app.removal import Canvas, Length, RemovalOptions
from tests.support.doubles import FakePool, failing, use_fetcher
from tests.support.photos import encoded, jpeg, opened, photo

URL = "/v1.0/removebg"
PHOTO = jpeg("coffee")
BASE64 = base64.b64encode(PHOTO).decode()
PREVIEW = 250_000
DEFAULTS = RemovalOptions(
    "auto",
    2048,
    full_size=True,
    format="AUTO",
    require_foreground=True,
    canvas=Canvas(PREVIEW),
    clean_mask=True,
)
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


def upload(image: bytes = PHOTO, name: str = "photo.jpg") -> tuple[io.BytesIO, str]:
    return io.BytesIO(image), name


def post(client: FlaskClient, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
    return client.post(URL, data={"image_file": upload(), **fields}, headers=headers)


def failure(response: TestResponse) -> tuple[int, str]:
    (error,) = response.json["errors"]  # type: ignore[index]
    return response.status_code, error["code"]


# Parameters


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


# Parameters without effect


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


# Sources


def test_all_unset_fields_may_be_sent_empty(client: FlaskClient, fake_pool: FakePool) -> None:
    client.post(URL, data=dict.fromkeys(PARAMETERS, "") | {"image_file": upload()})
    assert (fake_pool.requests[0].image, fake_pool.options) == (PHOTO, DEFAULTS)


def test_the_part_of_the_file_needs_no_content_type(client: FlaskClient, fake_pool: FakePool) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image_file"; filename="blob"\r\n\r\n'
    client.post(URL, data=head + PHOTO + b"\r\n--b--\r\n", content_type="multipart/form-data; boundary=b")
    assert fake_pool.requests[0].image == PHOTO


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
@pytest.mark.parametrize("as_json", [False, True])
def test_base64_may_be_plain_or_a_data_uri(
    prefix: str, as_json: bool, client: FlaskClient, fake_pool: FakePool
) -> None:
    fields = {"image_file_b64": prefix + BASE64}
    (client.post(URL, json=fields) if as_json else client.post(URL, data=fields))
    assert fake_pool.requests[0].image == PHOTO


def test_ten_megabytes_of_base64_may_be_a_text_field_of_a_multipart_form(
    client: FlaskClient, fake_pool: FakePool
) -> None:
    image = PHOTO + bytes(7_800_000 - len(PHOTO))
    head = b'--b\r\nContent-Disposition: form-data; name="image_file_b64"\r\n\r\n'
    body = head + base64.b64encode(image) + b"\r\n--b--\r\n"
    assert client.post(URL, data=body, content_type="multipart/form-data; boundary=b").status_code == 200
    assert fake_pool.requests[0].image == image


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "missing_source"),
        ({"image_url": "", "image_file_b64": ""}, "missing_source"),
        ({"image_file": "@photo.jpg"}, "missing_source"),
        ({"image_file_b64": BASE64, "image_url": "https://example.com/a.jpg"}, "multiple_sources"),
        ({"image_file": upload(), "image_file_b64": BASE64}, "multiple_sources"),
        ({"image_file_b64": BASE64, "bg_color": "red", "bg_image_url": "https://a.com/b.jpg"}, "multiple_bg_sources"),
        ({"image_file_b64": BASE64, "bg_color": "red", "bg_image_file": upload()}, "multiple_bg_sources"),
        ({"image_file_b64": "%%%"}, "failed_to_read_image"),
        ({"image_file_b64": base64.b64encode(b"no image").decode()}, "failed_to_read_image"),
        ({"image_file": upload(b"no image")}, "failed_to_read_image"),
        ({"image_file": upload(b"")}, "failed_to_read_image"),
        ({"image_file": upload(), "bg_image_file": upload(b"no image")}, "failed_to_read_image"),
        ({"image_url": "https://example.com/a.jpg"}, "invalid_image_url"),
        ({"image_file_b64": BASE64, "bg_image_url": "https://example.com/a.jpg"}, "invalid_bg_image_url"),
        ({"image_file": [upload(), upload()]}, "invalid_parameter"),
        ({"image_file": upload(), "roi": ["", "0% 0% 50% 50%"]}, "invalid_roi"),
    ],
)
def test_invalid_sources_are_refused(fields: dict[str, Any], code: str, client: FlaskClient) -> None:
    assert failure(client.post(URL, data=fields)) == (400, code)


def test_an_image_of_too_many_bytes(make_client: Callable[..., FlaskClient]) -> None:
    assert failure(post(make_client(max_image_bytes=1024))) == (400, "file_too_large")


def test_a_body_of_too_many_bytes(make_client: Callable[..., FlaskClient]) -> None:
    assert failure(post(make_client(max_content_length=1024))) == (400, "file_too_large")


def test_a_raw_body_is_not_a_source(client: FlaskClient) -> None:
    assert failure(client.post(URL, data=PHOTO)) == (400, "missing_source")


# URLs


class FakeFetcher(UrlFetcher):
    """Return the same photo or error for every URL."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.urls: list[str] = []

    def fetch(self, url: str, deadline: float) -> bytes:
        self.urls.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def fetching(client: FlaskClient, answer: bytes | Exception) -> FakeFetcher:
    use_fetcher(client.application, fetcher := FakeFetcher(answer))
    return fetcher


def test_photo_and_background_are_fetched(client: FlaskClient, fake_pool: FakePool) -> None:
    fetcher = fetching(client, PHOTO)
    client.post(URL, json={"image_url": "https://a.com/1.jpg", "bg_image_url": "https://a.com/2.jpg"})
    assert fetcher.urls == ["https://a.com/1.jpg", "https://a.com/2.jpg"]
    assert (fake_pool.requests[0].image, fake_pool.requests[0].background_image) == (PHOTO, PHOTO)


def test_nothing_is_fetched_for_an_invalid_request(client: FlaskClient) -> None:
    fetcher = fetching(client, PHOTO)
    assert failure(client.post(URL, json={"image_url": "https://a.com/1.jpg", "size": "huge"})) == (400, "invalid_size")
    assert fetcher.urls == []


@pytest.mark.parametrize(
    ("field", "error", "code"),
    [
        ("image_url", UrlRefused(), "invalid_image_url"),
        ("image_url", DownloadFailed(), "failed_image_download"),
        ("bg_image_url", UrlRefused(), "invalid_bg_image_url"),
        ("bg_image_url", DownloadFailed(), "failed_bg_download"),
        ("image_url", b"no image", "failed_to_read_image"),
    ],
)
def test_a_url_without_an_image_is_refused(
    field: str, error: bytes | Exception, code: str, client: FlaskClient
) -> None:
    fetching(client, error)
    fields = {field: "https://example.com/a.jpg"} | ({"image_file_b64": BASE64} if field == "bg_image_url" else {})
    assert failure(client.post(URL, json=fields)) == (400, code)


# Answers


@pytest.mark.parametrize(
    ("accept", "as_json"),
    [
        ("application/json; charset=utf-8", True),
        ("Application/JSON;charset=utf-8, image/png; v=1", False),
        ("application/json", True),
        ("Application/JSON", True),
        ("*/*", False),
        ("image/*", False),
        ("application/json, text/plain, */*", False),  # default of axios
        ("image/png, application/json", False),
        ("", False),
    ],
)
def test_json_is_sent_only_on_request(accept: str, as_json: bool, client: FlaskClient) -> None:
    response = post(client, headers={"Accept": accept})
    if not as_json:
        assert response.data == b"picture"
        return
    assert response.json == {
        "data": {
            "result_b64": base64.b64encode(b"picture").decode(),
            "foreground_top": 1,
            "foreground_left": 2,
            "foreground_width": 3,
            "foreground_height": 4,
        }
    }


def test_the_headers_describe_the_result(client: FlaskClient) -> None:
    headers = post(client).headers
    assert {name: headers[name] for name in ("X-Width", "X-Height", "X-Max-Width", "X-Max-Height")} == {
        "X-Width": "30",
        "X-Height": "20",
        "X-Max-Width": "300",
        "X-Max-Height": "200",
    }
    box = [headers[f"X-Foreground-{side}"] for side in ("Top", "Left", "Width", "Height")]
    assert (box, headers["X-Credits-Charged"], headers["Content-Type"]) == (["1", "2", "3", "4"], "0", "image/png")


def test_the_account_has_exactly_the_expected_keys(client: FlaskClient) -> None:
    attributes = client.get("/v1.0/account").json["data"]["attributes"]  # type: ignore[index]
    assert {name: set(values) for name, values in attributes.items()} == {
        "credits": {"total", "subscription", "payg", "enterprise"},
        "api": {"free_calls", "sizes"},
    }
    assert attributes["credits"]["total"] > 0


# Errors


@pytest.mark.parametrize("error", error_codes().values(), ids=error_codes().keys())
def test_every_error_has_the_shape_of_removebg(
    error: type[ServiceError], client: FlaskClient, fake_pool: FakePool
) -> None:
    failing(fake_pool, error(details="because"))
    response = post(client)
    assert list(response.json) == ["errors"]  # type: ignore[arg-type]
    (entry,) = response.json["errors"]  # type: ignore[index]
    assert set(entry) - {"detail"} == {"title", "code"}
    assert entry["title"] and all(isinstance(value, str) for value in entry.values())
    assert response.status_code == CODES.get(error.code, (error.status,))[0]


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("CORRUPT_IMAGE", (400, "failed_to_read_image")),
        ("UNSUPPORTED_FORMAT", (400, "failed_to_read_image")),
        ("TOO_MANY_PIXELS", (400, "resolution_too_high")),
        ("UNKNOWN_FOREGROUND", (400, "unknown_foreground")),
        ("ROI_EXCEEDS_BOUNDS", (400, "roi_exceeds_bounds")),
        ("ROI_REGION_EMPTY", (400, "roi_region_empty")),
        ("OUT_OF_MEMORY", (413, "out_of_memory")),
        ("QUEUE_FULL", (429, "rate_limit_exceeded")),
        ("ENGINE_CRASHED", (500, "engine_crashed")),
        ("MODEL_UNAVAILABLE", (503, "model_unavailable")),
        ("DEADLINE_EXCEEDED", (504, "deadline_exceeded")),
    ],
)
def test_an_engines_failure_in_this_dialect(
    native: str, expected: tuple[int, str], client: FlaskClient, fake_pool: FakePool
) -> None:
    failing(fake_pool, error_codes()[native]())
    assert failure(post(client)) == expected


@pytest.mark.parametrize(("code", "there"), [("QUEUE_FULL", True), ("MODEL_UNAVAILABLE", False)])
def test_retry_after_is_for_429_only(code: str, there: bool, client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, error_codes()[code]())
    assert ("Retry-After" in post(client).headers) == there


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1.0/nothing", 404), ("GET", URL, 405), ("POST", "/v1.0/account", 405), ("POST", "/v1.0/improve", 501)],
)
def test_all_errors_under_the_prefix_are_in_this_dialect(
    method: str, path: str, status: int, client: FlaskClient
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert list(response.json) == ["errors"]  # type: ignore[arg-type]
    assert ("Allow" in response.headers) == (status == 405)


def test_an_unexpected_exception_reveals_nothing(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, RuntimeError("secret /etc/passwd"))
    response = post(client)
    assert failure(response) == (500, "internal")
    assert "secret" not in response.text


@pytest.mark.parametrize("header", ["X-Api-Key", "x-api-key", "X-API-KEY"])
def test_the_key_header_is_case_insensitive(header: str, make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(api_keys=(SecretStr("good"),))
    assert post(client, headers={header: "good"}).status_code == 200
    refused = post(client, headers={header: "bad"})
    assert (refused.status_code, refused.json) == (
        403,
        {"errors": [{"title": "API Key invalid", "code": "auth_failed"}]},
    )


def test_a_missing_key_is_a_403(make_client: Callable[..., FlaskClient]) -> None:
    response = post(make_client(api_keys=(SecretStr("good"),)))
    assert (response.status_code, response.json["errors"][0]["title"]) == (403, "Missing API Key")  # type: ignore[index]


# Real photos through a real engine


def test_a_preview_has_a_quarter_of_a_megapixel(real_app: Any) -> None:
    response = post(real_app.test_client(), image_file=upload(jpeg("astronaut")))
    image = opened(response.data)
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (500, 500))
    assert (response.headers["X-Max-Width"], response.headers["X-Max-Height"]) == ("512", "512")


def test_zip_holds_colours_and_alpha_of_one_size(real_app: Any) -> None:
    response = post(real_app.test_client(), image_file=upload(jpeg("astronaut")), format="zip", crop="true")
    with zipfile.ZipFile(io.BytesIO(response.data)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        colour, alpha = (opened(archive.read(name)) for name in archive.namelist())
    assert colour.size == alpha.size == (int(response.headers["X-Width"]), int(response.headers["X-Height"]))
    assert (response.mimetype, alpha.mode) == ("application/zip", "L")


@pytest.mark.parametrize(
    ("fields", "format"),
    [
        ({}, "PNG"),
        ({"bg_color": "red"}, "JPEG"),
        ({"bg_color": "f008"}, "PNG"),
        ({"bg_image_file": "coffee"}, "JPEG"),
        ({"channels": "alpha"}, "PNG"),
    ],
)
def test_auto_is_png_with_transparency(fields: dict[str, Any], format: str, real_app: Any) -> None:
    files = {name: upload(jpeg(text)) for name, text in fields.items() if name == "bg_image_file"}
    response = post(real_app.test_client(), image_file=upload(jpeg("astronaut")), **fields | files)
    assert opened(response.data).format == format


def test_a_photo_without_a_subject(real_app: Any) -> None:
    grey = encoded(photo("astronaut").resize((1, 1)).resize((300, 200)))
    assert failure(post(real_app.test_client(), image_file=upload(grey, "a.png"))) == (400, "unknown_foreground")


@pytest.mark.parametrize(
    ("roi", "code"),
    [("0px 0px 513px 512px", "roi_exceeds_bounds"), ("100px 100px 100px 200px", "roi_region_empty")],
)
def test_an_invalid_region_is_refused(roi: str, code: str, real_app: Any) -> None:
    response = post(real_app.test_client(), image_file=upload(jpeg("astronaut")), roi=roi)
    assert failure(response) == (400, code)


def test_everything_outside_the_region_is_transparent(real_app: Any) -> None:
    response = post(
        real_app.test_client(), image_file=upload(jpeg("astronaut")), roi="100px 0px 300px 512px", size="full"
    )
    alpha = opened(response.data).getchannel("A")
    assert alpha.size == (512, 512)
    assert alpha.crop((100, 0, 300, 512)).getextrema()[1] == 255
    assert alpha.crop((0, 0, 100, 512)).getbbox() is alpha.crop((300, 0, 512, 512)).getbbox() is None


@pytest.mark.parametrize("error", error_codes().values(), ids=error_codes().keys())
def test_no_error_names_a_parameter_of_another_dialect(
    error: type[ServiceError], client: FlaskClient, fake_pool: FakePool
) -> None:
    failing(fake_pool, error())
    (entry,) = post(client).json["errors"]  # type: ignore[index]
    assert not [name for name in NATIVE.keys() - PARAMETERS.keys() if "_" in name and name in entry.get("detail", "")]
