"""Response headers: values, and no undeclared header in any answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import EngineCrashed, ModelUnavailable, ServiceError
from app.http.headers import HEADERS, NATIVE_PICTURE, PICTURE, REMOVEBG_PICTURE, picture_headers
from app.http.security import SECURITY_HEADERS
from app.removal import Box, RemovalResult
from app.settings import Settings
from tests.support.doubles import FakePool, failing
from tests.support.job_clients import jobs_of, post, work
from tests.support.photos import encoded, jpeg, photo

RESULT = RemovalResult(
    b"picture", "image/png", 30, 20, Box(1, 2, 3, 4), 0.98765, "lite", {"queue": 0.12, "infer": 2.0}, cache="hit"
)
IN_EVERY_DIALECT = {
    "X-Width": "30",
    "X-Height": "20",
    "X-Foreground-Top": "1",
    "X-Foreground-Left": "2",
    "X-Foreground-Width": "3",
    "X-Foreground-Height": "4",
    "X-Confidence": "0.988",
    "X-Model": "lite",
    "X-Cache": "hit",
    "Server-Timing": "queue;dur=0.1, infer;dur=2.0",
}


def test_the_headers_of_a_result_in_every_dialect() -> None:
    assert IN_EVERY_DIALECT.items() <= picture_headers(RESULT).items()


def test_the_headers_of_a_result_in_the_native_dialect() -> None:
    solved = replace(RESULT, matting_scale=0.5)
    own = {"X-Matting-Scale": "0.50", "X-Optimized-Size": "7"}
    assert picture_headers(solved, NATIVE_PICTURE) == picture_headers(solved) | own


def test_the_headers_of_a_result_in_the_dialect_of_removebg() -> None:
    largest = replace(RESULT, max_size=(300, 200))
    own = {"X-Max-Width": "300", "X-Max-Height": "200", "X-Credits-Charged": "0"}
    assert picture_headers(largest, REMOVEBG_PICTURE) == picture_headers(largest) | own


def test_a_smaller_answer_names_the_photos_size() -> None:
    result = replace(RESULT, input_size=(300, 200))
    assert "X-Scaled-From" not in picture_headers(result)
    assert picture_headers(replace(result, scaled_down=True))["X-Scaled-From"] == "300x200"


def test_a_cascade_under_load_says_so() -> None:
    assert picture_headers(replace(RESULT, under_load=True))["X-Model"] == "lite; reason=load"
    assert picture_headers(replace(RESULT, model="lite+u2netp"))["X-Model"] == "lite+u2netp"


def test_empty_values_are_omitted() -> None:
    sent = picture_headers(replace(RESULT, cache=""), NATIVE_PICTURE)
    assert not sent.keys() & {"X-Cache", "X-Matting-Scale"}


def test_every_header_is_declared_once() -> None:
    declared = (*NATIVE_PICTURE, *REMOVEBG_PICTURE)
    assert all(HEADERS[header.name] is header for header in declared)
    assert {header.name for header in PICTURE} == {header.name for header in NATIVE_PICTURE} & {
        header.name for header in REMOVEBG_PICTURE
    }


def own_headers(response: TestResponse) -> set[str]:
    """Return the names of the service's own headers in an answer."""
    names = set(response.headers.keys())
    return {name for name in names if name.startswith("X-") or name in HEADERS} - SECURITY_HEADERS.keys()


@pytest.fixture
def client(make_client: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    """Client of a service with limits, a cache and a folder for results, which add headers."""
    (tmp_path / "kept.png").write_bytes(encoded(photo("cat").resize((32, 32))))
    limits: dict[str, Any] = {name: 20 for name in Settings.model_fields if name.startswith("rate_limit_")}
    del limits["rate_limit_storage"], limits["rate_limit_exempt"]
    folders = {"output_dir": tmp_path, "upload_dir": tmp_path, "jobs_dir": tmp_path / "jobs"}
    return make_client(cache_url="memory://", **folders, **limits)


NATIVE, PREVIEW, BASE64 = "/remove-background", "/remove-background-preview", "/remove-background-base64"
REMOVEBG, REMBG, READ, JOBS = "/v1.0/removebg", "/api/remove", "/read-file", "/jobs"
# (method, path, form field with a photo, other arguments)
REQUESTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("post", NATIVE, "file", {"query_string": {"save": "1", "unknown": "1"}}),
    ("post", PREVIEW, "file", {}),
    ("post", BASE64, "file", {"query_string": {"save": "1"}}),
    *[("post", path, "", {"data": b"not an image"}) for path in (NATIVE, PREVIEW, BASE64, REMOVEBG, REMBG)],
    ("post", REMOVEBG, "image_file", {"query_string": {"unknown": "1"}}),
    ("post", REMOVEBG, "image_file", {"headers": {"Accept": "application/json"}}),
    ("post", REMBG, "file", {"query_string": {"vm": "true"}}),
    ("get", REMBG, "", {"query_string": {"url": "https://example.com/photo.jpg"}}),
    ("post", JOBS, "file", {"query_string": {"unknown": "1"}}),
    ("post", JOBS, "file", {"query_string": {"quality": "1"}}),
    ("get", JOBS, "", {}),
    ("post", READ, "", {"json": {"path": "kept.png"}}),
    ("post", READ, "", {"json": {"path": "missing.png"}}),
    ("get", "/v1.0/account", "", {}),
    ("post", "/v1.0/improve", "", {}),
    *[
        ("get", path, "", {})
        for path in ("/health", "/health/live", "/health/ready", "/openapi.json", "/docs", "/metrics")
    ],
]


def ask(client: FlaskClient, method: str, path: str, field: str, sent: dict[str, Any]) -> TestResponse:
    form: dict[str, Any] = {"data": {field: (io.BytesIO(jpeg()), "photo.jpg")}} if field else {}
    return client.open(path, method=method, **form, **sent)


@pytest.mark.parametrize("failure", [None, EngineCrashed(), ModelUnavailable()], ids=str)
@pytest.mark.parametrize(("method", "path", "field", "sent"), REQUESTS)
def test_every_header_of_an_answer_is_declared_and_described(
    client: FlaskClient,
    fake_pool: FakePool,
    failure: ServiceError | None,
    method: str,
    path: str,
    field: str,
    sent: dict[str, Any],
) -> None:
    if failure:
        failing(fake_pool, failure)
    response = ask(client, method, path, field, sent)
    document: Any = client.get("/openapi.json").json
    described = document["paths"][path][method]["responses"][str(response.status_code)]["headers"]
    assert own_headers(response) <= described.keys() <= HEADERS.keys()


def result_of_a_job(client: FlaskClient) -> TestResponse:
    """Return the answer with the result of a job's photo."""
    link = post(client).headers["Location"]
    work(client)
    jobs_of(client).stop()
    return client.get(f"{link}/items/1")


def test_the_requests_above_produce_nearly_every_header(client: FlaskClient, fake_pool: FakePool) -> None:
    seen = set().union(*(own_headers(ask(client, *request)) for request in REQUESTS))
    seen |= own_headers(result_of_a_job(client))
    failing(fake_pool, EngineCrashed())
    seen |= own_headers(client.post(NATIVE + "?on_error=original", data=jpeg("cat")))
    failing(fake_pool, ModelUnavailable())
    seen |= own_headers(client.post(NATIVE, data=jpeg("coffee")))
    assert HEADERS.keys() - seen == {"X-Matting-Scale"}, "the fake pool does no matting"
