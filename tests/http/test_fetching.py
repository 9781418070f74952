"""URLs in requests: refused by default, no loops, public hosts only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.fetch.url_fetcher import USER_AGENT, UrlFetcher
from app.settings import Settings
from tests.support.doubles import use_fetcher
from tests.support.photos import jpeg

URL = "http://img.example/photo.jpg"


class FakeFetcher(UrlFetcher):
    """Record the URLs and return a photo."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.urls: list[str] = []

    def fetch(self, url: str, deadline: float) -> bytes:
        self.urls.append(url)
        return jpeg()


@pytest.fixture
def fake_fetcher(fast_client: FlaskClient) -> FakeFetcher:
    fetcher = FakeFetcher()
    use_fetcher(fast_client.application, fetcher)
    return fetcher


def test_nothing_is_fetched_by_default(fast_client: FlaskClient) -> None:
    answer: Any = fast_client.get("/api/remove", query_string={"url": URL}).json
    assert (answer["statusCode"], answer["code"]) == (400, "INVALID_URL")
    answer = fast_client.post("/v1.0/removebg", json={"image_url": URL}).json
    assert answer["errors"][0]["code"] == "invalid_image_url"


def test_the_service_does_not_fetch_from_itself(fast_client: FlaskClient, fake_fetcher: FakeFetcher) -> None:
    assert fast_client.get("/api/remove", query_string={"url": URL}).status_code == 200
    answer = fast_client.get("/api/remove", query_string={"url": URL}, headers={"User-Agent": USER_AGENT})
    assert (answer.status_code, fake_fetcher.urls) == (400, [URL])


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "file:///etc/passwd"])
def test_a_url_that_is_not_public_is_refused(make_client: Callable[..., FlaskClient], url: str) -> None:
    client = make_client(allow_url_fetch=True)
    answer: Any = client.get("/api/remove", query_string={"url": url}).json
    assert (answer["statusCode"], answer["code"]) == (400, "INVALID_URL")
    answer = client.post("/v1.0/removebg", data={"image_url": url}).json
    assert answer["errors"][0]["code"] == "invalid_image_url"
