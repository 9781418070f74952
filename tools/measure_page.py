"""Figures of the web page in Chromium: first paint, layout shift, transferred bytes, console, policy reports.

python -m tools.measure_page http://localhost:5001/ [visits]

Each visit has an empty cache, and cuts out the sample photo after the page is loaded.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tools.page_screenshots import ARGUMENTS, CHROMIUM

PATIENCE_MS = 120_000
# Runs before the page's own scripts. Shifts within 500 ms of an input are not counted, by the definition of CLS.
WATCH = """
window.figures = { shift: 0, reports: [] };
window.painted = new Promise((resolve) => new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries()) if (name === "first-contentful-paint") resolve(startTime);
}).observe({ type: "paint", buffered: true }));
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) figures.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
addEventListener("securitypolicyviolation", (event) => figures.reports.push(event.violatedDirective));
"""
LOADED = """async () => {
    const paint = await painted;
    const [visit] = performance.getEntriesByType("navigation");
    const files = performance.getEntriesByType("resource");
    return {
        paint,
        loaded: visit.loadEventEnd,
        files: files.length + 1,
        transferred: [visit, ...files].reduce((sum, { transferSize }) => sum + transferSize, 0),
        decoded: [visit, ...files].reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0),
    };
}"""


def main(address: str, visits: int) -> None:
    """Print the figures: medians, and the worst of all visits."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=ARGUMENTS,
        )
        figures = [_visit(browser, address) for _ in range(visits)]
        browser.close()
    for name in figures[0]:
        values = [each[name] for each in figures]
        sys.stdout.write(f"{name:12} median {statistics.median(values):10.3f}   worst {max(values):10.3f}\n")


def _visit(browser: Browser, address: str) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.add_init_script(WATCH)
    page.goto(address, wait_until="load")
    loaded: dict[str, float] = page.evaluate(LOADED)
    page.click("#sample")
    page.locator("#weight", has_text="px").wait_for()
    watched: dict[str, Any] = page.evaluate("figures")
    context.close()
    counts = {"console": len(messages), "policy": len(watched["reports"])}
    return loaded | {"shift": watched["shift"]} | counts


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)
