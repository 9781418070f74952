"""Screenshots of the web page for the documentation, with its own sample photo.

python -m tools.page_screenshots http://localhost:5001/ docs/images
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

SIZES = {360: 780, 768: 1024, 1440: 900}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PATIENCE_MS = 120_000


def main(address: str, folder: Path) -> None:
    """Write page-STATE-SCHEME-WIDTH.webp for each state, colour scheme and width."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        for width in SIZES:
            for scheme in SCHEMES:
                _visit(browser, address, folder, scheme, width)
        browser.close()


def _visit(browser: Browser, address: str, folder: Path, scheme: Scheme, width: int) -> None:
    size = {"width": width, "height": SIZES[width]}
    page = browser.new_page(color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    _save(page, folder / f"page-empty-{scheme}-{width}.webp")
    page.click("#sample")
    page.wait_for_selector(".card[data-state=done]")
    page.locator("#weight", has_text="px").wait_for()
    page.get_by_text("Yellow", exact=True).dispatch_event("click")
    page.wait_for_timeout(500)  # for the drawing
    _save(page, folder / f"page-result-{scheme}-{width}.webp")
    page.close()


def _save(page: Page, path: Path) -> None:
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=82, method=6)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
