"""Chromium for the tests, driven by Playwright."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

from tests.support.configuration import ROOT
from tests.support.installing import installing
from tests.support.servers import binary

__all__ = ["PATIENCE_MS", "Console", "launch", "launch_with_extension", "violations"]

# Machines may be busy: no test waits for this long unless it fails.
PATIENCE_MS = 300_000
# Without these Chromium asks its maker's servers for updates; containers lack what its sandbox needs.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def launch(playwright: Playwright) -> Browser:
    """Start Debian's Chromium; skip without it."""
    return playwright.chromium.launch(executable_path=binary("chromium"), args=OPTIONS, timeout=PATIENCE_MS)


def launch_with_extension(playwright: Playwright, extension: Path, profile: Path) -> BrowserContext:
    """Start Chromium with an unpacked extension and a new profile; skip without it."""
    loading = [f"--disable-extensions-except={extension}", f"--load-extension={extension}"]
    context = playwright.chromium.launch_persistent_context(
        profile,
        timeout=PATIENCE_MS,
        executable_path=binary("chromium"),
        args=[*OPTIONS, *loading, "--disable-features=DisableLoadExtensionCommandLineSwitch"],
        ignore_default_args=["--disable-extensions"],
        accept_downloads=True,
        viewport={"width": 1280, "height": 900},
    )
    context.set_default_timeout(PATIENCE_MS)
    return context


class Console:
    """Errors and warnings in the console of a page; answers with an error status are not among them."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.problems.append(message.text)


# Colours have too little contrast in the middle of a transition; animations without end are part of a state.
SETTLED = """() => Promise.allSettled(document.getAnimations()
    .filter((animation) => animation.effect?.getComputedTiming().endTime !== Infinity)
    .map(({ finished }) => finished))"""


def violations(page: Page) -> list[str]:
    """Return the accessibility problems that axe-core finds after all transitions, with the elements."""
    page.evaluate(SETTLED)
    page.evaluate(_axe())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((results) => results.violations)")
    return [f"{each['id']}: {json.dumps([node['target'] for node in each['nodes']])}" for each in found]


@cache
def _axe() -> str:
    """Return axe-core's script, installed from package-lock.json if necessary."""
    script = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    with installing():
        if not script.exists():
            if shutil.which("npm") is None:
                pytest.skip("npm is missing: axe-core is a package of npm")
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=ROOT, capture_output=True)
    if not script.exists():
        pytest.skip("axe-core could not be installed: npm ci")
    return Path(script).read_text()
