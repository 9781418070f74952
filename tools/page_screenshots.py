"""Screenshots of the web page in every state, with its own sample photo, for the documentation.

python -m tools.page_screenshots http://localhost:5001/ docs/images

Answers for the states of a job, a limit and a missing key are made here; all others come from the server.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Route, sync_playwright

# Debian's Chromium, and what it needs in a container.
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZES = {360: 780, 768: 1024, 1440: 900}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PATIENCE_MS = 60_000
SAMPLE = (Path(__file__).parents[1] / "app/http/page/assets/sample.jpg").read_bytes()
# Kept one by one for the README; the others are only in the sheets.
SINGLE = ("empty", "result")
SHEET_COLUMNS = {360: 12, 768: 6, 1440: 4}
SHEET_SCALES = {360: 0.6, 768: 0.5, 1440: 0.45}
JOB_STATES = ("done", "done", "done", "failed", "done", "running", "running", *("queued",) * 17)


def main(address: str, folder: Path) -> None:
    """Write page-STATE-SCHEME-WIDTH.webp for SINGLE at full width, and page-states-WIDTH.webp with all states."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=ARGUMENTS,
        )
        for width in SIZES:
            taken = [
                (f"{name}-{scheme}-{width}", _taken(browser, address, scheme, width, visit))
                for name, visit in STATES.items()
                for scheme in SCHEMES
            ]
            for name, image in taken:
                if width == max(SIZES) and name.partition("-")[0] in SINGLE:
                    image.crop((0, 0, width, SIZES[width])).save(folder / f"page-{name}.webp", quality=82, method=6)
            images = [image for _, image in taken]
            sheet(images, SHEET_COLUMNS[width], SHEET_SCALES[width]).save(
                folder / f"page-states-{width}.webp", quality=80, method=6
            )
        browser.close()


def _taken(browser: Browser, address: str, scheme: Scheme, width: int, visit: Callable[[Page], None]) -> Image.Image:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": SIZES[width]})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    visit(page)
    page.wait_for_timeout(400)  # for the drawing
    has_dialog = page.locator("dialog[open]").count() > 0  # covers the window alone
    image = Image.open(io.BytesIO(page.screenshot(full_page=not has_dialog))).convert("RGB")
    context.close()
    return image


def sheet(images: list[Image.Image], columns: int, scale: float) -> Image.Image:
    """Return the images in rows of one height, scaled down."""
    gap = 12
    small = [image.resize((int(image.width * scale), int(image.height * scale))) for image in images]
    rows = [small[start : start + columns] for start in range(0, len(small), columns)]
    heights = [max(image.height for image in row) for row in rows]
    widths = [sum(image.width + gap for image in row) + gap for row in rows]
    result = Image.new("RGB", (max(widths), sum(heights) + gap * (len(rows) + 1)), "#8a8a90")
    top = gap
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for image in row:
            result.paste(image, (left, top))
            left += image.width + gap
        top += height + gap
    return result


def _choose(page: Page, *names: str, body: bytes = SAMPLE) -> None:
    files = [FilePayload(name=name, mimeType="image/jpeg", buffer=body) for name in names]
    page.set_input_files("#files", files)


def _network(page: Page, latency: int, upload: int) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": upload},
    )


def _empty(page: Page) -> None:
    page.wait_for_selector("#sample")


def _uploading(page: Page) -> None:
    _network(page, 0, 40_000)
    _choose(page, "shoe.jpg", "bag.jpg", body=SAMPLE + bytes(400_000))  # with something to upload
    page.locator(".card", has_text=re.compile(r"Uploading, [3-6]\d")).first.wait_for()


def _running(page: Page) -> None:
    _network(page, 60_000, -1)
    _choose(page, "shoe.jpg", "bag.jpg", "lamp.jpg")
    page.wait_for_selector(".card[data-state=running]")


def _compare(page: Page) -> None:
    page.click("#sample")
    page.wait_for_selector(".card[data-state=done]")
    page.locator("#weight", has_text="px").wait_for()


def _brush(page: Page) -> None:
    _compare(page)
    page.get_by_text("Erase", exact=True).click()
    box = page.locator("#view").bounding_box()
    if box is None:
        raise RuntimeError("the result is not shown")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 50, y)
    page.mouse.down()
    page.mouse.move(x + 50, y + 20, steps=10)
    page.mouse.up()


def _result(page: Page) -> None:
    _compare(page)
    page.get_by_text("Yellow", exact=True).dispatch_event("click")


def _crop(page: Page) -> None:
    _compare(page)
    page.check("#crop")


def _failed(page: Page) -> None:
    _choose(page, "damaged.jpg", body=SAMPLE[:4000])
    _choose(page, "notes.jpg", body=b"no picture")
    _choose(page, "empty.jpg", body=b"")
    _choose(page, "shoe.jpg")
    page.wait_for_selector(".card[data-state=done]")


def _answer(page: Page, path: str, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
    def fulfil(route: Route) -> None:
        route.fulfill(status=status, content_type="application/json", body=json.dumps(body), headers=headers)

    page.route(path, fulfil)


def _key(page: Page) -> None:
    _answer(page, "**/remove-background", 401, {"code": "AUTH_FAILED"})
    _choose(page, "shoe.jpg")
    page.get_by_role("dialog").wait_for()


def _limit(page: Page) -> None:
    limits = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1793700000"}
    _answer(page, "**/remove-background", 429, {"code": "RATE_LIMITED"}, limits | {"Retry-After": "2592"})
    _choose(page, "shoe.jpg", "bag.jpg")
    page.wait_for_selector(".card[data-state=paused]")


def _offline(page: Page) -> None:
    page.context.set_offline(True)
    _choose(page, "shoe.jpg", "bag.jpg")
    page.wait_for_selector(".card[data-state=paused]")


def _job(page: Page) -> None:
    items: list[dict[str, Any]] = [
        {"number": number, "name": f"IMG_{2040 + number}.jpg", "state": state, "error": None, "results": []}
        for number, state in enumerate(JOB_STATES, 1)
    ]
    for item in items:
        if item["state"] == "failed":
            item["error"] = {"code": "CORRUPT_IMAGE"}
        elif item["state"] == "done":
            item["results"] = [{"link": "/jobs/1/items/1"}]
    job = {"id": "1", "state": "running", "seconds_left": 34.0, "links": {"results": "/jobs/1/results.zip"}}
    _answer(page, "**/jobs?*", 202, job | {"items": items})
    event = f"data: {json.dumps(job | {'items': []})}\n\n"
    page.route("**/jobs/1/events", lambda route: route.fulfill(content_type="text/event-stream", body=event))
    result = page.evaluate(RESULT, list(SAMPLE))
    page.route("**/jobs/1/items/1", lambda route: route.fulfill(content_type="image/png", body=bytes(result)))
    _choose(page, *(str(item["name"]) for item in items))
    page.locator(".job", has_text="left").wait_for()
    page.locator("#weight", has_text="px").wait_for()


# A cut-out of the sample by the server, for the items of the made job.
RESULT = """async (bytes) => {
    const form = new FormData();
    form.append("file", new File([new Uint8Array(bytes)], "sample.jpg", { type: "image/jpeg" }));
    const answer = await fetch("/remove-background", { method: "POST", body: form });
    return [...new Uint8Array(await answer.arrayBuffer())];
}"""

STATES: dict[str, Callable[[Page], None]] = {
    "empty": _empty,
    "uploading": _uploading,
    "running": _running,
    "compare": _compare,
    "brush": _brush,
    "result": _result,
    "crop": _crop,
    "failed": _failed,
    "key": _key,
    "limit": _limit,
    "offline": _offline,
    "job": _job,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
