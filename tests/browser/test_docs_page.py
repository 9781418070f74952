"""`/docs` in Chromium, over a real service with the real model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.support.browser import violations
from tests.support.photos import jpeg
from tests.support.service import Service

pytestmark = pytest.mark.integration

PHOTO: FilePayload = {"name": "shoe.jpg", "mimeType": "image/jpeg", "buffer": jpeg("coffee")}


@pytest.fixture
def docs(page: Page, service: Service) -> Page:
    page.goto(f"http://127.0.0.1:{service.port}/docs")
    return page


def open_operation(page: Page, name: str) -> None:
    page.locator(f".opblock[id$='-{name}'] .opblock-summary-control").click()


def test_every_operation_is_shown(docs: Page, service: Service) -> None:
    paths = json.loads(service.request("/openapi.json").body)["paths"]

    expect(docs.locator(".opblock")).to_have_count(sum(map(len, paths.values())))

    expect(docs.get_by_role("heading", name="Limits of this server")).to_be_visible()
    expect(docs.locator("td", has_text="format=WEBP").first).to_be_visible()


def test_samples_name_this_server(docs: Page, service: Service) -> None:
    open_operation(docs, "remove_background")
    for label, text in {"curl": "-F file=@photo.jpg", "Python": "import requests", "JavaScript": "fetch("}.items():
        docs.get_by_text(f"Example: {label}").click()
        sample = docs.locator(".code-samples details", has_text=f"Example: {label}").locator("pre")
        expect(sample).to_contain_text(text)
        expect(sample).to_contain_text(f"http://127.0.0.1:{service.port}/remove-background")


@pytest.mark.parametrize("operation", ["remove_background", "removebg", "rembg_remove"])
def test_an_upload_is_tried_out(docs: Page, operation: str) -> None:
    open_operation(docs, operation)
    docs.get_by_role("button", name="Try it out").click()
    docs.locator("input[type=file]").first.set_input_files([PHOTO])

    with docs.expect_response(lambda response: response.request.method == "POST") as answered:
        docs.get_by_role("button", name="Execute").click()

    answer = answered.value
    assert answer.status == 200
    assert answer.headers["x-width"] == "600"  # the photo's own: no field of the form is set without the user
    assert "x-saved-as" not in answer.headers
    assert "x-ignored-params" not in answer.headers
    expect(docs.locator(".live-responses-table .response .response-col_status").first).to_contain_text("200")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(docs: Page, scheme: Literal["light", "dark"]) -> None:
    docs.emulate_media(color_scheme=scheme)
    expect(docs.locator(".opblock").first).to_be_visible()

    assert violations(docs) == []
    open_operation(docs, "remove_background")
    docs.get_by_role("button", name="Try it out").click()
    expect(docs.get_by_role("button", name="Execute")).to_be_visible()
    assert violations(docs) == []


def test_a_key_is_sent(open_page: Callable[..., Page], start: Callable[..., Service]) -> None:
    service = start(ENGINE_PROCESSES=1, API_KEYS="docs-key")
    page = open_page(service)
    page.goto(f"http://127.0.0.1:{service.port}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".modal-ux input").first.fill("docs-key")
    page.locator(".modal-ux button.authorize").first.click()
    page.locator(".modal-ux").get_by_role("button", name="Close").first.click()
    open_operation(page, "read_file")
    page.get_by_role("button", name="Try it out").click()

    with page.expect_response("**/read-file") as answered:
        page.get_by_role("button", name="Execute").click()

    assert answered.value.status == 404
    assert answered.value.request.post_data_json == {"path": "photo.jpg"}


def test_the_reader_and_the_web_page_link_to_each_other(docs: Page) -> None:
    docs.get_by_role("link", name="Web page").click()
    docs.locator("a[href='/docs']").first.click()
    expect(docs.locator("#reader .info")).to_be_visible()
