"""Native dialect: parameters, headers, answers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from app.errors import DeadlineExceeded, EngineCrashed, OutOfMemory, ServiceError, error_codes
from app.http.security import SECURITY_HEADERS
from app.options.parameters import PARAMETERS
from app.removal import Blur, Canvas, Gradient, Length, RemovalOptions
from tests.support.doubles import FakePool, failing
from tests.support.photos import encoded, jpeg, opened, photo

PHOTO = jpeg("coffee")
DEFAULTS = RemovalOptions("auto", 2048, clean_mask=True)
FULL = 25_000_000
TEN = Length(10.0)

# (parameter, text, changed options)
GOOD = [
    ("format", "webp", {"format": "WEBP"}),
    ("format", "JPG", {"format": "JPEG"}),
    ("format", "zip", {"format": "ZIP"}),
    ("quality", "10", {"quality": 10}),
    ("quality", "100", {"quality": 100}),
    ("max_width", "100", {"max_width": 100}),
    ("max_width", "4000", {"max_width": 4000, "full_size": True}),
    ("max_height", "100", {"max_height": 100}),
    ("max_height", "4000", {"max_height": 4000, "full_size": True}),
    ("full_size", "true", {"full_size": True}),
    ("background", "#f00", {"background": (255, 0, 0, 255)}),
    ("background", "00ff0080", {"background": (0, 255, 0, 128)}),
    ("background", "navy", {"background": (0, 0, 128, 255)}),
    ("background", "transparent", {}),
    ("background", "blur:7", {"backdrop": Blur(7)}),
    ("background", "gradient:red,#fff,90", {"backdrop": Gradient((255, 0, 0, 255), (255, 255, 255, 255), 90)}),
    ("canvas", "2000x1500", {"full_size": True, "canvas": Canvas(FULL, size=(2000, 1500))}),
    ("scale", "85%", {"canvas": Canvas(FULL, scale=0.85, position=(0.5, 0.5))}),
    ("scale", "original", {}),
    ("position", "0% 100%", {"canvas": Canvas(FULL, position=(0.0, 1.0))}),
    ("position", "original", {}),
    ("model", "u2netp", {"model": "u2netp"}),
    ("mask_only", "true", {"mask_only": True}),
    ("crop", "1", {"crop": True}),
    ("portrait", "true", {"portrait": True}),
    ("crop_margin", "10px", {"crop_margin": (TEN,) * 4}),
    ("crop_margin", "10px 5%", {"crop_margin": (TEN, Length(5.0, "%")) * 2}),
    ("refine", "none", {"refine": "none"}),
    ("refine", "Matting", {"refine": "matting"}),
    ("on_error", "Original", {}),
    ("require_foreground", "yes", {"require_foreground": True}),
    ("save", "false", {}),
    ("preset", "thumbnail", {"format": "WEBP", "quality": 60, "max_width": 300, "max_height": 300}),
    *[(name, "", {}) for name in (*PARAMETERS, "preset")],
]
BAD = [
    ("format", "bmp"),
    ("quality", "9"),
    ("quality", "101"),
    ("quality", "high"),
    ("max_width", "99"),
    ("max_width", "4001"),
    ("max_height", "99"),
    ("max_height", "-1"),
    ("full_size", "4k"),
    ("background", "nocolour"),
    ("background", "blur:0"),
    ("background", "gradient:red"),
    ("canvas", "99x2000"),
    ("canvas", "2000"),
    ("scale", "85"),
    ("position", "top"),
    ("model", "u2net"),
    ("model", "../lite"),
    ("mask_only", "perhaps"),
    ("crop", "2"),
    ("crop_margin", "600px"),
    ("portrait", "head"),
    ("crop_margin", "1px 2px 3px"),
    ("refine", "hair"),
    ("on_error", "ignore"),
    ("require_foreground", "x"),
    ("save", "later"),
    ("preset", "unknown"),
]


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(models_allowed=("u2netp",))


@pytest.mark.parametrize("place", ["query", "form", "json"])
@pytest.mark.parametrize(("name", "text", "change"), GOOD)
def test_a_parameter_is_accepted_in_every_place(
    name: str, text: str, change: dict[str, object], place: str, client: FlaskClient, fake_pool: FakePool
) -> None:
    encoded = base64.b64encode(PHOTO).decode()
    if place == "query":
        response = client.post("/remove-background", data=PHOTO, query_string={name: text})
    elif place == "form":
        response = client.post("/remove-background", data={"image": encoded, name: text})
    else:
        response = client.post("/remove-background", json={"image": encoded, name: text})
    assert response.status_code == 200
    assert "X-Ignored-Params" not in response.headers
    assert fake_pool.options == replace(DEFAULTS, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_an_invalid_value_is_refused_with_its_parameter(
    name: str, text: str, client: FlaskClient, fake_pool: FakePool
) -> None:
    response = client.post("/remove-background", data=PHOTO, query_string={name: text})
    assert (response.status_code, response.json["code"]) == (400, "INVALID_PARAMETER")  # type: ignore[index]
    assert f"'{name}'" in response.json["message"]  # type: ignore[index]
    assert fake_pool.requests == []


def test_each_parameter_has_valid_and_invalid_cases() -> None:
    assert {name for name, *_ in GOOD} == {name for name, _ in BAD} == {*PARAMETERS, "preset"}


def test_json_numbers_and_bools_are_understood(client: FlaskClient, fake_pool: FakePool) -> None:
    body = {"image": base64.b64encode(PHOTO).decode(), "quality": 55, "crop": True, "max_width": None}
    assert client.post("/remove-background-base64", json=body).status_code == 200
    assert (fake_pool.options.quality, fake_pool.options.crop, fake_pool.options.max_width) == (55, True, None)


def test_the_body_overrides_the_query(client: FlaskClient, fake_pool: FakePool) -> None:
    form = {"image": base64.b64encode(PHOTO).decode(), "quality": "20"}
    client.post("/remove-background", data=form, query_string={"quality": "30"})
    assert fake_pool.options.quality == 20


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("image/webp; q=0.9; v=1, image/png; q=0.5", "WEBP"),
        ("image/webp,*/*", "WEBP"),
        ("image/avif,image/webp,image/*,*/*;q=0.8", "AVIF"),
        ("image/*", "PNG"),
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("*/*", "PNG"),
        ("text/html", "PNG"),
        ("image/png;q=0.5, image/jpeg", "JPEG"),
    ],
)
def test_auto_format_follows_accept(accept: str, format: str, client: FlaskClient, fake_pool: FakePool) -> None:
    client.post("/remove-background?format=auto", data=PHOTO, headers={"Accept": accept})
    assert fake_pool.options.format == format


def test_unknown_parameters_are_listed(client: FlaskClient) -> None:
    response = client.post("/remove-background?qualty=3&zoom=1", data=PHOTO)
    assert response.headers["X-Ignored-Params"] == "qualty, zoom"


def test_unknown_parameters_cannot_split_a_header(client: FlaskClient) -> None:
    response = client.post("/remove-background", data=PHOTO, query_string={"a\r\nSet-Cookie: x": "1", "ü" * 200: "1"})
    assert "Set-Cookie" not in response.headers
    assert "%0D%0A" in response.headers["X-Ignored-Params"]


def test_the_three_endpoints_differ_in_their_answers(client: FlaskClient) -> None:
    attachment = client.post("/remove-background", data=PHOTO)
    inline = client.post("/remove-background-preview", data=PHOTO)
    json = client.post("/remove-background-base64", data=PHOTO)
    assert attachment.headers["Content-Disposition"].startswith("attachment")
    assert inline.headers["Content-Disposition"].startswith("inline")
    assert base64.b64decode(json.json["image"]) == attachment.data == b"picture"  # type: ignore[index]


def test_a_preview_is_small(client: FlaskClient, fake_pool: FakePool) -> None:
    client.post("/remove-background-preview", data=PHOTO)
    assert fake_pool.options.longest_side == 1024


@pytest.mark.parametrize("query", ["full_size=1", "max_width=4000", "preset=archival", "preset=print"])
def test_a_preview_stays_small(query: str, client: FlaskClient, fake_pool: FakePool) -> None:
    response = client.post(f"/remove-background-preview?{query}", data=PHOTO)
    assert (fake_pool.options.longest_side, fake_pool.options.full_size) == (1024, False)
    assert response.headers.get("X-Ignored-Params") == (None if "width" in query else "full_size")


def test_a_canvas_of_a_preview_is_small(client: FlaskClient, fake_pool: FakePool) -> None:
    client.post("/remove-background-preview?preset=amazon", data=PHOTO)
    assert fake_pool.options.canvas == Canvas(FULL, scale=0.85, position=(0.5, 0.5), size=(1024, 1024))
    assert not fake_pool.options.full_size


@pytest.mark.parametrize(("query", "full_size"), [("max_width=801", True), ("max_width=800", False)])
def test_a_bound_over_max_dimension_replaces_it(
    query: str, full_size: bool, make_client: Callable[..., FlaskClient], fake_pool: FakePool
) -> None:
    make_client(max_dimension=800).post(f"/remove-background?{query}", data=PHOTO)
    assert fake_pool.options.full_size is full_size


def test_max_dimension_limits_the_working_size(make_client: Callable[..., FlaskClient], fake_pool: FakePool) -> None:
    client = make_client(max_dimension=800)
    client.post("/remove-background", data=PHOTO)
    client.post("/remove-background-preview", data=PHOTO)
    assert [request.options.longest_side for request in fake_pool.requests] == [800, 800]


def test_the_headers_describe_the_result(client: FlaskClient) -> None:
    headers = client.post("/remove-background", data=PHOTO).headers
    others = {"X-Request-ID", *SECURITY_HEADERS}
    assert {name: headers[name] for name in headers.keys() if name.startswith("X-") and name not in others} == {
        "X-Optimization-Used": "format=PNG; quality=85; refine=edges",
        "X-Original-Size": str(len(PHOTO)),
        "X-Optimized-Size": "7",
        "X-Width": "30",
        "X-Height": "20",
        "X-Scaled-From": "600x400",
        "X-Foreground-Top": "1",
        "X-Foreground-Left": "2",
        "X-Foreground-Width": "3",
        "X-Foreground-Height": "4",
        "X-Confidence": "0.900",
        "X-Model": "lite",
    }
    assert headers["Server-Timing"] == "queue;dur=0.1, infer;dur=2.0"


def test_the_json_answer_is_as_documented(client: FlaskClient) -> None:
    response = client.post("/remove-background-base64", data=PHOTO, headers={"X-Request-ID": "my-id"})
    assert response.json == {
        "success": True,
        "image": base64.b64encode(b"picture").decode(),
        "mimetype": "image/png",
        "size": 7,
        "optimization": {
            "format": "PNG",
            "quality": 85,
            "dimensions": "30x20",
            "original_size": len(PHOTO),
            "compression_ratio": "100%",
        },
        "foreground": {"top": 1, "left": 2, "width": 3, "height": 4},
        "confidence": 0.9,
        "model": "lite",
        "request_id": "my-id",
    }


FALLBACK_ERRORS = {OutOfMemory, EngineCrashed, DeadlineExceeded}


@pytest.mark.parametrize("error", error_codes().values(), ids=error_codes().keys())
def test_on_error_original_returns_the_uploaded_image(
    error: type[ServiceError], client: FlaskClient, fake_pool: FakePool
) -> None:
    failing(fake_pool, error())
    response = client.post("/remove-background?on_error=original", data=PHOTO)
    if error in FALLBACK_ERRORS:
        assert (response.status_code, response.headers["X-Fallback"], response.data) == (200, "original", PHOTO)
        assert response.headers["Content-Type"] == "image/jpeg"
    else:
        assert (response.status_code, "X-Fallback" in response.headers) == (error.status, False)


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "BMP", "broken JPEG"])
def test_an_original_of_any_format_is_returned(format: str, client: FlaskClient, fake_pool: FakePool) -> None:
    data = PHOTO[:100] if format == "broken JPEG" else encoded(photo("cat"), format)
    failing(fake_pool, EngineCrashed())
    response = client.post("/remove-background?on_error=original", data=data)
    assert (response.data, response.mimetype) == (data, f"image/{format.lower().split()[-1]}")
    assert client.post("/remove-background", data=data).status_code == 500


def test_an_original_as_json(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, EngineCrashed())
    response = client.post("/remove-background-base64?on_error=original", data=PHOTO, headers={"X-Request-ID": "my-id"})
    assert response.json == {
        "success": False,
        "fallback": "original",
        "image": base64.b64encode(PHOTO).decode(),
        "mimetype": "image/jpeg",
        "size": len(PHOTO),
        "request_id": "my-id",
    }


def test_an_original_is_not_saved(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, EngineCrashed())
    headers = client.post("/remove-background?on_error=original&save=true", data=PHOTO).headers
    assert (headers["X-Ignored-Params"], "X-Saved-As" in headers) == ("save", False)


@pytest.mark.parametrize("error", error_codes().values(), ids=error_codes().keys())
def test_every_error_has_the_native_shape(error: type[ServiceError], client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, error(details="because"))
    response = client.post("/remove-background", data=PHOTO, headers={"X-Request-ID": "abc"})
    assert response.status_code == error.status
    assert response.json == {
        "error": error.title,
        "message": error.default_message,
        "code": error.code,
        "statusCode": error.status,
        "solution": error.solution,
        "details": "because",
        "request_id": "abc",
    }


def test_an_unexpected_exception_reveals_nothing(client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, RuntimeError("secret /etc/passwd"))
    response = client.post("/remove-background", data=PHOTO)
    assert (response.status_code, response.json["code"]) == (500, "INTERNAL")  # type: ignore[index]
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing-here", 404, "NOT_FOUND"),
        ("POST", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/remove-background", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/remove-background-base64", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_routing_errors_have_the_native_shape(
    method: str, path: str, status: int, code: str, client: FlaskClient
) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.json["code"]) == (status, code)  # type: ignore[index]
    assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("proposed", "echoed"),
    [("abc-123_X", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("", False), ("ü", False)],
)
def test_valid_request_ids_are_echoed(proposed: str, echoed: bool, client: FlaskClient) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": proposed}).headers["X-Request-ID"]
    assert (answer == proposed) is echoed and answer


def test_a_real_photo_through_a_real_engine(real_app: object, pool: object) -> None:
    client = real_app.test_client()  # type: ignore[attr-defined]
    response = client.post("/remove-background", data=jpeg("astronaut"))
    image = opened(response.data)
    assert (response.status_code, image.mode, image.size) == (200, "RGBA", photo("astronaut").size)
    assert response.headers["Server-Timing"].startswith("queue;dur=")
    assert (response.headers["X-Width"], response.headers["X-Height"]) == ("512", "512")


@pytest.mark.parametrize(
    ("query", "details", "solution"),
    [
        ("quality=5", "Quality must be between 10-100", "Correct 'quality', which is '5'."),
        ("max_width=99", "Max width must be between 100-4000", "Correct 'max_width', which is '99'."),
        ("crop=perhaps", "Crop must be true or false", "Correct 'crop', which is 'perhaps'."),
        ("format=gif", "Format must be one of ", "Correct 'format', which is 'gif'."),
        ("preset=none", "Preset must be one of ", "Correct 'preset', which is 'none'."),
    ],
)
def test_the_error_of_a_parameter_has_its_bounds(query: str, details: str, solution: str, client: FlaskClient) -> None:
    body = client.post(f"/remove-background?{query}", data=PHOTO).json
    assert body is not None and body["error"] == "Invalid optimization parameters"
    assert body["details"].startswith(details) and body["solution"] == solution


@pytest.mark.parametrize("error", error_codes().values(), ids=error_codes().keys())
def test_details_are_never_empty(error: type[ServiceError], client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, error())
    body = client.post("/remove-background", data=PHOTO).json
    assert body is not None and body["details"] == error.default_message
