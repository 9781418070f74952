"""remove.bg's dialect: answers and errors."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from app.errors import ServiceError, error_codes
from app.http.removebg.errors import CODES
from app.http.removebg.parameters import PARAMETERS
from app.options.parameters import PARAMETERS as NATIVE
from tests.support.doubles import FakePool, failing
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.removebg import URL, failure, post, upload


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client()


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
