"""The browser extension, loaded unpacked into Chromium, over a real service with the real model.

Native menus and permission prompts can't be clicked: the event of the menu is dispatched in the worker, and the
manifest under test has the permission for loopback from the start, where a user grants it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, Page, Playwright, Worker, expect

from tests.support.browser import PATIENCE_MS, Console, launch_with_extension, violations
from tests.support.gallery import gallery
from tests.support.photos import jpeg
from tests.support.service import Service, free_port
from tests.support.waiting import wait_until
from tools.pack_extension import pack

pytestmark = pytest.mark.integration

PHOTO: FilePayload = {"name": "shoe.jpg", "mimeType": "image/jpeg", "buffer": jpeg("coffee")}
GRANTED = ["http://127.0.0.1/*"]


class Extension:
    """The extension in a browser of its own."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.worker: Worker = (
            context.service_workers[0] if context.service_workers else context.wait_for_event("serviceworker")
        )
        self.origin = self.worker.url.rpartition("/")[0]

    def wait_for_options(self) -> None:
        """Wait for the options page, which opens after the installation."""
        for _ in range(PATIENCE_MS // 100):
            if any(page.url.endswith("/options.html") for page in self.context.pages):
                return
            self.context.pages[0].wait_for_timeout(100)
        raise AssertionError("the options page was not opened")

    def open(self, name: str) -> Page:
        page = self.context.new_page()
        page.goto(f"{self.origin}/{name}.html")
        return page

    def use(self, **settings: str) -> None:
        self.worker.evaluate("(settings) => chrome.storage.local.set(settings)", settings)

    def click_menu(self, page: Page, address: str) -> Page:
        """Dispatch the event of the menu for an image of the page; return the result tab."""
        page.bring_to_front()
        with self.context.expect_page() as result:
            self.worker.evaluate(
                """async (srcUrl) => {
                    const [tab] = await chrome.tabs.query({ active: true, lastFocusedWindow: true });
                    const info = { menuItemId: "remove-background", srcUrl, frameId: 0 };
                    chrome.contextMenus.onClicked.dispatch(info, tab);
                }""",
                address,
            )
        return result.value


@pytest.fixture
def extension(playwright: Playwright, tmp_path: Path) -> Iterator[Extension]:
    pack(tmp_path / "built")
    folder = tmp_path / "built" / "chrome"
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"host_permissions": GRANTED}))
    context = launch_with_extension(playwright, folder, tmp_path / "profile")
    consoles: list[tuple[Page, Console]] = []
    context.on("page", lambda page: consoles.append((page, Console(page))))
    extension = Extension(context)
    extension.wait_for_options()
    yield extension
    context.close()
    own = [console for page, console in consoles if page.url.startswith("chrome-extension:")]
    problems = [problem for console in own for problem in console.problems]
    assert [problem for problem in problems if "blocked by CORS policy" not in problem] == []  # provoked by a test


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def result_of(extension: Extension, file: FilePayload = PHOTO) -> Page:
    """Choose a picture in the popup; return the result tab."""
    popup = extension.open("popup")
    with extension.context.expect_page() as result:
        popup.set_input_files("#file", [file])
    return result.value


def downloaded(page: Page) -> tuple[str, Image.Image]:
    with page.expect_download() as download:
        page.click("#download")
    return download.value.suggested_filename, Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))


def assert_cut_out(cutout: Image.Image) -> None:
    assert cutout.size == (600, 400)
    assert cutout.getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert cutout.getpixel((300, 200))[3] == 255  # type: ignore[index]


def test_a_picture_from_the_popup_becomes_a_cutout(extension: Extension, service: Service) -> None:
    extension.use(server=address(service))

    page = result_of(extension)
    name, cutout = downloaded(page)

    assert name == "shoe.png"
    assert_cut_out(cutout)
    page.locator("#wipe").press("Home")
    expect(page.locator("#wipe")).to_have_attribute("aria-valuenow", "0")
    assert violations(page) == []


def test_a_reload_keeps_the_result_and_closing_deletes_it(extension: Extension, service: Service) -> None:
    extension.use(server=address(service))
    page = result_of(extension)
    expect(page.locator("#studio")).to_be_visible()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method))

    page.reload()

    expect(page.locator("#weight")).to_contain_text("600 × 400 px")
    assert_cut_out(downloaded(page)[1])
    assert "POST" not in requests
    popup, url = extension.open("popup"), page.url
    page.close()
    wait_until(lambda: popup.evaluate(GONE, url.partition("#")[2]))
    popup.goto(url)
    expect(popup.locator("#title")).to_have_text("The picture is gone")


GONE = "(id) => import('/handover.js').then(({ workOf }) => workOf(id)).then((work) => !work)"
KEEP = """([id, bytes]) => import('/handover.js').then(({ keep }) =>
    keep(id, { source: new File([new Uint8Array(bytes)], "shoe.jpg", { type: "image/jpeg" }) }))"""


def test_the_result_tab_shows_the_progress(extension: Extension, service: Service) -> None:
    extension.use(server=address(service))
    page = extension.open("popup")
    page.evaluate(KEEP, ["slow", list(PHOTO["buffer"] + bytes(500_000))])
    network = extension.context.new_cdp_session(page)
    network.send("Network.enable")
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network.send("Network.emulateNetworkConditions", conditions | {"uploadThroughput": 10_000})

    page.goto(f"{extension.origin}/result.html#slow")

    expect(page.locator("#title")).to_have_text("Uploading…")
    expect(page.locator("#progress")).to_have_attribute("value", re.compile(r"0\.\d+"))
    network.send("Network.emulateNetworkConditions", conditions | {"uploadThroughput": -1})
    expect(page.locator("#studio")).to_be_visible()


def test_the_menu_reads_an_image_that_needs_the_cookie_of_its_page(extension: Extension, service: Service) -> None:
    extension.use(server=address(service))
    with gallery(PHOTO["buffer"]) as port:
        page = extension.context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")

        result = extension.click_menu(page, f"http://127.0.0.1:{port}/photo.jpg")
        name, cutout = downloaded(result)

    assert name == "photo.png"
    assert_cut_out(cutout)


def test_an_image_of_another_host_needs_a_permission(extension: Extension, service: Service) -> None:
    extension.use(server=address(service))
    with gallery(PHOTO["buffer"]) as port:
        page = extension.context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")

        result = extension.click_menu(page, f"http://localhost:{port}/photo.jpg")

        expect(result.locator("#title")).to_have_text("The picture is on another server")
        expect(result.locator("#allow")).to_be_visible()
        assert violations(result) == []


def test_a_server_without_permission_is_asked_for(extension: Extension, service: Service) -> None:
    extension.use(server=f"http://localhost:{service.port}")

    page = result_of(extension)

    expect(page.locator("#advice")).to_contain_text(f"localhost:{service.port}")
    expect(page.locator("#allow")).to_be_visible()


def test_format_and_background_are_sent(extension: Extension, service: Service) -> None:
    extension.use(server=address(service), format="JPEG", background="#2563eb")

    name, picture = downloaded(result_of(extension))

    assert (name, picture.format) == ("shoe.jpg", "JPEG")
    assert picture.getpixel((2, 2))[2] > 200  # type: ignore[index]


def test_options_are_saved(extension: Extension, service: Service) -> None:
    page = extension.open("options")
    page.fill("#server", address(service) + "/")
    page.fill("#key", " secret ")
    page.select_option("#format", "WEBP")
    page.fill("#preset", "web")
    page.check("#coloured")
    page.click("#save")
    expect(page.locator("#finding")).to_have_text("Saved.")
    assert violations(page) == []

    stored = extension.worker.evaluate("chrome.storage.local.get()")

    expected = {"server": address(service), "key": "secret", "format": "WEBP", "preset": "web", "background": "#ffffff"}
    assert stored == expected


def finding_of(extension: Extension, server: str, key: str = "") -> tuple[str | None, str]:
    """Press "Test connection"; return kind and text of the finding."""
    page = extension.open("options")
    page.fill("#server", server)
    page.fill("#key", key)
    page.click("#test")
    finding = page.locator("#finding:not([data-kind=saved]):not([data-kind=running])")
    expect(finding).to_be_visible()
    return finding.get_attribute("data-kind"), finding.inner_text()


def test_a_good_connection(extension: Extension, service: Service) -> None:
    assert finding_of(extension, address(service)) == ("ok", "The connection works.")


@pytest.mark.parametrize("server", ["ftp://127.0.0.1", "http://", "nothing at all"])
def test_a_text_that_is_not_an_address(extension: Extension, server: str) -> None:
    assert finding_of(extension, server)[0] == "address"


def test_an_address_without_server(extension: Extension) -> None:
    kind, text = finding_of(extension, f"http://127.0.0.1:{free_port()}")

    assert (kind, "No server answers" in text) == ("address", True)


def test_another_server(extension: Extension) -> None:
    with gallery(b"") as port:
        kind, text = finding_of(extension, f"http://127.0.0.1:{port}")

    assert (kind, "not a Background Remover" in text) == ("address", True)


@pytest.fixture(scope="module")
def keyed(start: Callable[..., Service]) -> Service:
    """A service that needs a key."""
    return start(ENGINE_PROCESSES=1, API_KEYS="right")


def test_wrong_and_missing_keys(extension: Extension, keyed: Service) -> None:
    assert finding_of(extension, address(keyed), "wrong") == ("key", "The server does not accept this API key.")
    assert finding_of(extension, address(keyed)) == ("key", "This server needs an API key.")
    assert finding_of(extension, address(keyed), "right")[0] == "ok"


def test_a_wrong_key_is_explained_beside_the_picture(extension: Extension, keyed: Service) -> None:
    extension.use(server=address(keyed), key="wrong")
    page = result_of(extension)
    expect(page.locator("#title")).to_have_text("The API key is wrong")

    extension.use(key="right")
    page.click("#retry")

    expect(page.locator("#studio")).to_be_visible()


def test_a_used_up_limit(extension: Extension, start: Callable[..., Service]) -> None:
    service = start(ENGINE_PROCESSES=1, RATE_LIMIT_BASE64_PER_HOUR=1)
    finding_of(extension, address(service))

    kind, text = finding_of(extension, address(service))
    page = result_of(extension)

    assert (kind, "limit is used up" in text) == ("limit", True)
    expect(page.locator("#title")).to_have_text("Your limit is used up")
    expect(page.locator("#wait")).to_contain_text("Again in")


def test_the_result_opens_in_the_page(extension: Extension, service: Service) -> None:
    extension.use(server=address(service))
    result = result_of(extension)
    expect(result.locator("#studio")).to_be_visible()

    with extension.context.expect_page() as page:
        result.click("#open")

    expect(page.value.locator(".card[data-state=done]")).to_have_count(1)


def test_the_popup_is_accessible(extension: Extension) -> None:
    assert violations(extension.open("popup")) == []


CONNECTION = "(settings) => import('/server.js').then(({ testConnection }) => testConnection(settings))"


def test_without_permission_the_server_decides_by_cors(extension: Extension, start: Callable[..., Service]) -> None:
    page = extension.open("popup")
    strict, open_ = start(ENGINE_PROCESSES=1), start(ENGINE_PROCESSES=1, CORS_ORIGINS=extension.origin)

    refused = page.evaluate(CONNECTION, {"server": f"http://localhost:{strict.port}", "key": ""})
    allowed = page.evaluate(CONNECTION, {"server": f"http://localhost:{open_.port}", "key": ""})
    page.close()

    assert refused["kind"] == "cors"
    assert f"CORS_ORIGINS={extension.origin}" in refused["text"]
    assert allowed["kind"] == "ok"
