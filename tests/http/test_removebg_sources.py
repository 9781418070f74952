"""remove.bg's dialect: photos and backgrounds in bodies and from URLs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.errors import DownloadFailed, UrlRefused
from app.fetch.url_fetcher import UrlFetcher
from app.http.removebg.parameters import PARAMETERS
from tests.support.doubles import FakePool, use_fetcher
from tests.support.removebg import BASE64, DEFAULTS, PHOTO, URL, failure, post, upload


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client()


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
