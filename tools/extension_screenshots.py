"""Screenshots of the browser extension's pages, with the web page's sample photo, for the documentation.

python -m tools.extension_screenshots http://127.0.0.1:5001 docs/images
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, Page, sync_playwright

from tools.pack_extension import pack
from tools.page_screenshots import ARGUMENTS, CHROMIUM, PATIENCE_MS, SAMPLE, SCHEMES, Scheme, sheet

LOADING = "--disable-features=DisableLoadExtensionCommandLineSwitch"
# Width and height of the popup as browsers show it, and of a tab, px.
POPUP, TAB = (360, 420), (1100, 800)


def main(server: str, folder: Path) -> None:
    """Write extension-SCHEME.webp with popup, options and result tab, for a server on loopback."""
    with TemporaryDirectory() as temporary, sync_playwright() as playwright:
        extension = _with_permission(Path(temporary))
        for scheme in SCHEMES:
            context = playwright.chromium.launch_persistent_context(
                Path(temporary) / scheme,
                executable_path=CHROMIUM,
                args=[*ARGUMENTS, LOADING, f"--load-extension={extension}"],
                ignore_default_args=["--disable-extensions"],
                color_scheme=scheme,
            )
            context.set_default_timeout(PATIENCE_MS)
            _screenshot(context, server, scheme, folder)
            context.close()


def _with_permission(folder: Path) -> Path:
    """Return the extension with the permission for loopback that its user grants otherwise."""
    pack(folder)
    manifest = folder / "chrome" / "manifest.json"
    permission = {"host_permissions": ["http://127.0.0.1/*"]}
    manifest.write_text(json.dumps(json.loads(manifest.read_text(encoding="utf-8")) | permission), encoding="utf-8")
    return manifest.parent


def _screenshot(context: BrowserContext, server: str, scheme: Scheme, folder: Path) -> None:
    worker = context.service_workers[0] if context.service_workers else context.wait_for_event("serviceworker")
    origin = worker.url.rpartition("/")[0]
    worker.evaluate("(server) => chrome.storage.local.set({ server })", server)
    popup, options = _opened(context, f"{origin}/popup.html", POPUP), _opened(context, f"{origin}/options.html", TAB)
    images = [_image(popup), _image(options)]
    with context.expect_page() as result:
        popup.set_input_files("#file", [FilePayload(name="sample.jpg", mimeType="image/jpeg", buffer=SAMPLE)])
    result.value.set_viewport_size({"width": TAB[0], "height": TAB[1]})
    result.value.locator("#weight", has_text="px").wait_for()
    sheet([*images, _image(result.value)], columns=3, scale=0.7).save(
        folder / f"extension-{scheme}.webp", quality=82, method=6
    )


def _opened(context: BrowserContext, address: str, size: tuple[int, int]) -> Page:
    page = context.new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(address)
    return page


def _image(page: Page) -> Image.Image:
    page.wait_for_timeout(400)  # for the drawing
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
