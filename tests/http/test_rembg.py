"""rembg's dialect: parameters, bodies, answers and errors."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import DownloadFailed, ServiceError, UrlRefused
from app.fetch.url_fetcher import UrlFetcher
from app.http.rembg import PARAMETERS, SUPPORT
from app.removal import RemovalOptions, Trimap
from tests.support.documentation import table_below
from tests.support.doubles import FakePool
from tests.support.photos import jpeg, opened

URL = "/api/remove"
PHOTO = jpeg("coffee")
DEFAULTS = RemovalOptions("lite", 2048, keep_colours=True)
MATTING: dict[str, Any] = {"refine": "matting", "keep_colours": False}
REFERENCE: dict[str, Any] = {"model": "u2netp", "reference_mask": True}

# (fields, changed options)
GOOD: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({}, {}),
    ({"model": "lite"}, {}),
    ({"model": "u2netp"}, REFERENCE),
    ({"model": "u2netp", "a": "true"}, REFERENCE | MATTING),
    ({"model": "auto"}, {"model": "auto"}),
    *[({"a": text}, MATTING) for text in ("true", "True", "1", "on", "yes", "t", "Y")],
    *[({"a": text}, {}) for text in ("false", "0", "off", "no", "f", "N", "")],
    ({"a": "true", "af": "255", "ab": "0", "ae": "0"}, MATTING | {"trimap": Trimap(255, 0, 0)}),
    ({"af": "200", "ab": "20", "ae": "5"}, {"trimap": Trimap(200, 20, 5)}),
    ({"om": "true"}, {"mask_only": True}),
    ({"om": "true", "a": "true"}, {"mask_only": True}),
    ({"ppm": "true"}, {"smooth_mask": True}),
    ({"ppm": "true", "a": "true"}, MATTING | {"smooth_mask": True}),
    ({"dc": "true"}, {"keep_colours": False}),
    ({"bgc": "255,128,0,64"}, {"background": (255, 128, 0, 64)}),
    ({"bgc": "255, 128, 0"}, {"background": (255, 128, 0, 255)}),
    ({"extras": ""}, {}),
    ({"vm": "true"}, {}),
]
BAD = [
    *[(name, "maybe") for name in ("a", "om", "ppm", "dc", "vm")],
    *[(name, text) for name in ("af", "ab", "ae") for text in ("-1", "256", "2.5", "x")],
    *[("bgc", text) for text in ("255", "1,2", "1,2,3,256", "1,2,3,4,5", "#fff", "a,b,c,d", "1,2,3,-4", "1,,3")],
    ("model", "u2net_cloth_seg"),
    ("extras", '{"sam_prompt": []}'),
]


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(model_name="lite", models_allowed=("lite", "u2netp", "auto"), allow_url_fetch=True)


def post(client: FlaskClient, query: str = "", **fields: str) -> TestResponse:
    return client.post(URL + query, data=fields | {"file": (io.BytesIO(PHOTO), "photo.jpg")})


def code_of(answer: TestResponse) -> str:
    return str(answer.get_json()["code"])


def fetching(monkeypatch: pytest.MonkeyPatch, outcome: bytes | ServiceError) -> list[str]:
    """Set the outcome of the fetcher, and return the list of requested URLs."""
    asked: list[str] = []

    def fetch(_: UrlFetcher, url: str, deadline: float) -> bytes:
        asked.append(url)
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome

    monkeypatch.setattr(UrlFetcher, "fetch", fetch)
    return asked


@pytest.mark.parametrize(("fields", "changes"), GOOD, ids=lambda value: str(value)[:40])
def test_fields_are_parsed_to_options(
    fields: dict[str, str], changes: dict[str, Any], client: FlaskClient, fake_pool: FakePool
) -> None:
    answer = post(client, **fields)
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", b"picture")
    assert fake_pool.options == replace(DEFAULTS, **changes)


@pytest.mark.parametrize(("name", "text"), BAD)
def test_an_invalid_value_is_refused_with_its_parameter(name: str, text: str, client: FlaskClient) -> None:
    answer = post(client, **{name: text})
    assert answer.status_code == 400
    assert code_of(answer) == "INVALID_PARAMETER"
    assert repr(name) in answer.get_json()["message"]


@pytest.mark.parametrize("model", ["withoutbg", "atlascloud"])
def test_a_cloud_model_is_refused_with_the_reason(model: str, client: FlaskClient) -> None:
    answer = post(client, model=model)
    assert answer.status_code == 400
    assert "another company" in answer.get_json()["message"]


def test_fields_are_accepted_in_the_query(client: FlaskClient, fake_pool: FakePool) -> None:
    post(client, "?bgc=1,2,3,4&om=false", om="true")
    assert fake_pool.options == replace(DEFAULTS, background=(1, 2, 3, 4), mask_only=True)


def test_unsupported_parameters_are_listed(client: FlaskClient) -> None:
    assert post(client, vm="true", size="full").headers["X-Ignored-Params"] == "size, vm"
    assert "X-Ignored-Params" not in post(client, vm="false").headers


def test_unknown_files_are_listed(client: FlaskClient) -> None:
    files = {"file": (io.BytesIO(PHOTO), "a.jpg"), "mask": (io.BytesIO(PHOTO), "b.jpg")}
    assert client.post(URL, data=files).headers["X-Ignored-Params"] == "mask"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({}, 400, "MISSING_IMAGE"),
        ({"file": "text"}, 400, "MISSING_IMAGE"),
        ({"file": (io.BytesIO(b""), "empty.jpg")}, 400, "EMPTY_FILE"),
        ({"file": (io.BytesIO(b"no image"), "a.jpg")}, 415, "UNSUPPORTED_FORMAT"),
        ({"file": [(io.BytesIO(PHOTO), "a.jpg"), (io.BytesIO(PHOTO), "b.jpg")]}, 400, "MULTIPLE_SOURCES"),
    ],
)
def test_an_invalid_upload_is_refused(data: dict[str, Any], status: int, code: str, client: FlaskClient) -> None:
    answer = client.post(URL, data=data, content_type="multipart/form-data")
    assert (answer.status_code, code_of(answer)) == (status, code)


def test_an_image_by_url(client: FlaskClient, fake_pool: FakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fetching(monkeypatch, PHOTO)
    answer = client.get(URL, query_string={"url": "https://shop.example/a.jpg?b=c", "a": "true", "bgc": "0,0,0,255"})
    assert (answer.status_code, asked) == (200, ["https://shop.example/a.jpg?b=c"])
    assert fake_pool.requests[-1].image == PHOTO
    assert fake_pool.options == replace(DEFAULTS, **MATTING, background=(0, 0, 0, 255))


@pytest.mark.parametrize("failure", [UrlRefused(), DownloadFailed()])
def test_a_failed_download(failure: ServiceError, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching(monkeypatch, failure)
    answer = client.get(URL, query_string={"url": "http://shop.example/a.jpg"})
    assert (answer.status_code, code_of(answer)) == (failure.status, failure.code)


def test_a_download_must_be_an_image(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching(monkeypatch, b"<html>")
    assert client.get(URL, query_string={"url": "http://shop.example/"}).status_code == 415


def test_an_invalid_field_prevents_the_download(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fetching(monkeypatch, PHOTO)
    assert client.get(URL, query_string={"url": "http://shop.example/a.jpg", "af": "x"}).status_code == 400
    assert asked == []


def test_a_query_without_url(client: FlaskClient) -> None:
    answer = client.get(URL)
    assert (answer.status_code, code_of(answer)) == (400, "MISSING_IMAGE")


def test_urls_are_off_by_default(fast_client: FlaskClient) -> None:
    answer = fast_client.get(URL, query_string={"url": "http://shop.example/a.jpg"})
    assert (answer.status_code, code_of(answer)) == (400, "INVALID_URL")


def test_both_methods_have_the_limit_of_remove_background(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=1)
    assert [post(client).status_code for _ in range(2)] == [200, 429]
    assert [client.get(URL).status_code for _ in range(2)] == [400, 429]


def test_matting_by_a_real_engine(client: FlaskClient, real_app: Any) -> None:
    answer = post(real_app.test_client(), a="true")
    assert (answer.status_code, answer.headers["X-Matting-Scale"]) == (200, "1.00")
    assert opened(answer.data).mode == "RGBA"


@pytest.mark.parametrize("fields", [{}, {"dc": "true"}, {"ppm": "true"}, {"om": "true", "a": "true"}])
def test_matting_is_done_only_on_request(fields: dict[str, str], real_app: Any) -> None:
    answer = post(real_app.test_client(), **fields)
    assert "X-Matting-Scale" not in answer.headers
    assert opened(answer.data).mode == ("L" if "om" in fields else "RGBA")


def test_every_parameter_is_documented() -> None:
    documented = {row[0].strip("`"): row[1:] for row in table_below("## rembg's dialect")}
    assert documented == {name: [each.allowed, each.default, each.help] for name, each in PARAMETERS.items()}


def test_every_parameter_has_a_degree_of_support() -> None:
    assert set(SUPPORT) == {"file", "url", *PARAMETERS}


@pytest.mark.parametrize("path", ["/api/remove", "/remove-background"])
def test_the_error_of_a_model_says_how_to_allow_it(path: str, fast_client: FlaskClient) -> None:
    answer = fast_client.post(path, data={"file": (io.BytesIO(jpeg()), "photo.jpg"), "model": "u2net"}).json
    assert answer is not None and answer["code"] == "INVALID_PARAMETER"
    assert "python -m app models pull u2net" in answer["solution"]
    assert re.search(r"MODELS_ALLOWED=[\w,]*lite,[\w,]*u2net\.", answer["solution"])


def test_an_unknown_model_cannot_be_allowed(fast_client: FlaskClient) -> None:
    answer = fast_client.post("/api/remove", data={"file": (io.BytesIO(jpeg()), "photo.jpg"), "model": "nothing"}).json
    assert answer is not None and "MODELS_ALLOWED" not in answer["solution"]
