"""The page in a real browser, over a real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.support.browser import PATIENCE_MS, Console, launch
from tests.support.require_integration import pytest_runtest_makereport
from tests.support.service import Service

__all__ = ["pytest_runtest_makereport"]

VIEW: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
expect.set_options(timeout=PATIENCE_MS)


# Its event loop runs in this thread, where tests of other packages run loops of their own.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def service(start: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory) -> Service:
    jobs = tmp_path_factory.mktemp("jobs")
    return start(MODEL_NAME="lite", ENGINE_PROCESSES=1, RATE_LIMIT_REMOVE_BG_PER_HOUR=0, QUEUE_SIZE=50, JOBS_DIR=jobs)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the page of a service; at the end its console must be empty."""
    consoles: list[Console] = []
    contexts = []

    def open_page(service: Service, **options: Any) -> Page:
        context = browser.new_context(accept_downloads=True, **VIEW | options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        consoles.append(Console(page))
        page.goto(f"http://127.0.0.1:{service.port}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for console in consoles for problem in console.problems] == []


@pytest.fixture
def page(open_page: Callable[..., Page], service: Service) -> Page:
    return open_page(service)
