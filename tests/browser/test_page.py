"""The web page in Chromium, over a real service with the real model."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Download, FilePayload, Page, Route, expect

from tests.support.browser import violations
from tests.support.photos import encoded, jpeg
from tests.support.service import Service, crash, end, gunicorn
from tests.support.synthetic_images import noise
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

PHOTO: FilePayload = {"name": "shoe.jpg", "mimeType": "image/jpeg", "buffer": jpeg("coffee")}
BLUE = (37, 99, 235)


def choose(page: Page, *files: FilePayload) -> None:
    page.set_input_files("#files", list(files))


def finished(page: Page, count: int = 1) -> None:
    expect(page.locator(".card[data-state=done]")).to_have_count(count)


def prepared(page: Page, text: str | re.Pattern[str]) -> None:
    """Wait until the size of the download is shown."""
    expect(page.locator("#weight")).to_have_text(text)


def downloaded(page: Page, button: str = "#download") -> Download:
    with page.expect_download() as download:
        page.click(button)
    return download.value


def picture(download: Download) -> Image.Image:
    return Image.open(io.BytesIO(Path(download.path()).read_bytes()))


def choose_tool(page: Page, name: str) -> None:
    page.get_by_text(name, exact=True).click()


def stroke(page: Page) -> None:
    """Draw from left to right through the centre of the picture."""
    box = page.locator("#view").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=12)
    page.mouse.up()


def test_a_chosen_photo_becomes_a_cutout_of_its_own_name(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)
    prepared(page, re.compile(r"600 × 400 px, \d+ kB"))

    download = downloaded(page)
    cutout = picture(download)

    assert download.suggested_filename == "shoe.png"
    assert cutout.mode == "RGBA"
    assert cutout.size == (600, 400)
    assert cutout.getpixel((2, 2))[3] == 0  # type: ignore[index]
    assert cutout.getpixel((300, 200))[3] == 255  # type: ignore[index]


def test_the_sample_needs_no_photo(page: Page) -> None:
    page.click("#sample")
    finished(page)

    cutout = picture(downloaded(page))

    assert cutout.getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert cutout.getpixel((400, 320))[3] == 255  # type: ignore[index]


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(page: Page, kind: str) -> None:
    script = """([kind, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "shoe.jpg", { type: "image/jpeg" }));
        const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    page.evaluate(script, [kind, list(PHOTO["buffer"])])

    finished(page)


def test_the_slider_moves_by_mouse_and_by_keys(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)
    slider = page.get_by_role("slider", name=re.compile("Compare"))
    expect(slider).to_be_visible()

    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    slider.press("PageUp")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "12")

    handle, stage = slider.bounding_box(), page.locator("#stage").bounding_box()
    assert handle is not None
    assert stage is not None
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 50)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.8, handle["y"] + 50, steps=5)
    page.mouse.up()
    expect(slider).to_have_attribute("aria-valuenow", "80")


def test_colour_crop_and_format_need_no_second_upload(page: Page) -> None:
    requests: list[str] = []
    choose(page, PHOTO)
    finished(page)
    prepared(page, re.compile("600 × 400"))
    page.on("request", lambda request: requests.append(request.url) if "remove" in request.url else None)

    page.get_by_text("Blue", exact=True).dispatch_event("click")
    page.check("#crop")
    page.select_option("#format", "jpeg")
    prepared(page, re.compile(r"^(?!600 × 400)\d+ × \d+ px"))
    download = downloaded(page)
    result = picture(download)

    assert download.suggested_filename == "shoe.jpg"
    assert result.format == "JPEG"
    assert result.width < 600
    assert max(abs(a - b) for a, b in zip(result.getpixel((1, 1)), BLUE, strict=True)) < 12  # type: ignore[arg-type]
    assert requests == []


def test_a_preset_sets_format_and_bounds(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)

    page.select_option("#preset", "thumbnail")
    prepared(page, re.compile("300 × 200 px"))

    assert picture(downloaded(page)).format == "WEBP"


def test_the_brush_erases_and_restores_and_undo_takes_it_back(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)
    prepared(page, re.compile("600 × 400"))
    choose_tool(page, "Erase")
    stroke(page)
    expect(page.locator("#undo")).to_be_enabled()
    erased = picture(downloaded(page))
    page.click("#undo")
    undone = picture(downloaded(page))
    page.click("#redo")
    choose_tool(page, "Restore")
    stroke(page)
    restored = picture(downloaded(page))

    assert erased.getpixel((300, 200))[3] < 20  # type: ignore[index]
    assert undone.getpixel((300, 200))[3] == 255  # type: ignore[index]
    assert restored.getpixel((300, 200))[3] > 235  # type: ignore[index]


def test_all_are_downloaded_as_a_zip_with_distinct_names(page: Page) -> None:
    choose(page, *[PHOTO] * 5)
    finished(page, 5)

    with zipfile.ZipFile(downloaded(page, "#zip").path()) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == ["shoe.png", "shoe (2).png", "shoe (3).png", "shoe (4).png", "shoe (5).png"]
        assert Image.open(io.BytesIO(archive.read(names[4]))).size == (600, 400)


def test_a_damaged_file_fails_alone_and_says_what_to_do(page: Page) -> None:
    damaged: FilePayload = {"name": "damaged.jpg", "mimeType": "image/jpeg", "buffer": PHOTO["buffer"][:3000]}
    text: FilePayload = {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}

    choose(page, damaged, text, PHOTO)
    finished(page)

    expect(page.locator(".card[data-state=failed]")).to_have_count(2)
    expect(page.locator(".card", has_text="damaged.jpg")).to_contain_text("The file is damaged")
    expect(page.locator(".card", has_text="notes.jpg")).to_contain_text("not a picture")
    expect(page.locator("#stage-text")).to_contain_text("save it again")
    page.locator(".card", has_text="damaged.jpg").get_by_role("button", name="Try again").click()
    expect(page.locator(".card", has_text="damaged.jpg")).to_contain_text("The file is damaged")


def test_a_file_that_is_too_large(start: Callable[..., Service], open_page: Callable[..., Page]) -> None:
    page = open_page(start(ENGINE_PROCESSES=1, MAX_IMAGE_BYTES=20_000))

    choose(page, PHOTO)

    expect(page.locator(".card")).to_contain_text("too large")


def test_a_used_up_limit_counts_down(start: Callable[..., Service], open_page: Callable[..., Page]) -> None:
    page = open_page(start(ENGINE_PROCESSES=1, RATE_LIMIT_REMOVE_BG_PER_HOUR=1))

    choose(page, PHOTO, {**PHOTO, "name": "second.jpg"})

    finished(page)
    expect(page.locator(".card[data-state=paused]")).to_contain_text(
        re.compile(r"Your limit is used up. Next try in \d+:\d\d min")
    )
    expect(page.locator("#limit")).to_contain_text("0 of 1 left")


def test_a_key_is_asked_for_and_kept_only_on_request(
    start: Callable[..., Service], open_page: Callable[..., Page]
) -> None:
    page = open_page(start(ENGINE_PROCESSES=1, API_KEYS="right"))
    choose(page, PHOTO)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert violations(page) == []

    page.fill("#key-field", "wrong")
    page.get_by_role("button", name="Continue").click()
    expect(dialog).to_contain_text("not accepted")
    page.fill("#key-field", "right")
    page.get_by_role("button", name="Continue").click()
    finished(page)
    assert page.evaluate("localStorage.length") == 0

    page.get_by_role("button", name="API key").click()
    page.fill("#key-field", "right")
    page.check("#key-keep")
    page.get_by_role("button", name="Continue").click()
    page.reload()
    choose(page, PHOTO)
    finished(page)


def test_pictures_wait_while_the_server_is_away(
    start: Callable[..., Service], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    settings = {"ENGINE_PROCESSES": "1", "RATE_LIMIT_REMOVE_BG_PER_HOUR": "0"}
    service = start(**settings)
    page = open_page(service)
    crash(service)

    choose(page, PHOTO)
    expect(page.locator(".card")).to_contain_text("The server doesn't answer")

    log = tmp_path / "log"
    environment = {"HOST": "127.0.0.1", "PORT": str(service.port), **settings}
    again = Service(service.port, log, gunicorn(environment, log, "app:create_app()"))
    try:
        wait_until(again.ready)
        finished(page)
    finally:
        end(again)


def test_double_clicks_do_everything_once(page: Page) -> None:
    held: list[Route] = []
    page.route("**/sample.jpg", lambda route: held.append(route))  # Playwright marks a function
    page.dblclick("#sample")
    wait_until(lambda: page.evaluate("true") and len(held) == 2)
    for route in held:
        route.continue_()
    finished(page, 2)
    choose(page, PHOTO)
    finished(page, 3)

    for button in ("#zoom-in", "#zoom-out", "#zoom-fit", "#copy", ".card-open >> nth=1", "#crop", "#view"):
        page.dblclick(button, position={"x": 5, "y": 5})
    page.dblclick(".card-close >> nth=0")

    expect(page.locator(".card")).to_have_count(2)


def test_two_hundred_pictures_at_once(page: Page) -> None:
    small = encoded(noise((32, 24)))

    choose(page, *[FilePayload(name=f"{n}.png", mimeType="image/png", buffer=small) for n in range(200)])

    expect(page.locator(".card")).to_have_count(200)
    finished(page, 200)
    expect(page.locator("#summary")).to_have_text("200 of 200 done")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1440])
def test_axe_finds_nothing_in_any_state(
    open_page: Callable[..., Page], service: Service, scheme: str, width: int
) -> None:
    page = open_page(service, color_scheme=scheme, viewport={"width": width, "height": 900})
    assert violations(page) == []

    choose(page, PHOTO, {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    finished(page)
    expect(page.locator(".card[data-state=failed]")).to_have_count(1)
    assert violations(page) == []
    choose_tool(page, "Erase")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_works_by_keyboard(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)
    prepared(page, re.compile("600 × 400"))
    reached: set[str] = set()

    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))

    assert reached >= {"files", "wipe", "zoom-in", "zoom-fit", "card-open", "zip", "format", "crop", "download", "copy"}


def test_a_file_that_was_deleted_fails_alone(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "shoe.jpg"
    path.write_bytes(jpeg("coffee"))
    page.context.set_offline(True)
    page.set_input_files("#files", path)
    expect(page.locator(".card")).to_contain_text("You are offline")

    path.unlink()
    page.context.set_offline(False)

    expect(page.locator(".card[data-state=failed]")).to_contain_text("The file can't be read")
    choose(page, PHOTO)
    finished(page)


def test_a_picture_behind_is_taken_away_again(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)
    blue: FilePayload = {"name": "blue.png", "mimeType": "image/png", "buffer": encoded(Image.new("RGB", (8, 8), BLUE))}
    page.set_input_files("#backdrop", [blue])
    expect(page.locator("#swatches input:checked")).to_have_count(0)
    assert picture(downloaded(page)).getpixel((2, 2)) == (*BLUE, 255)

    page.get_by_text("Transparent", exact=True).dispatch_event("click")

    assert picture(downloaded(page)).getpixel((2, 2))[3] == 0  # type: ignore[index]


def test_the_picture_is_moved_and_painted_by_keyboard(page: Page) -> None:
    choose(page, PHOTO)
    finished(page)
    page.locator("#view").focus()
    before = page.locator("#zoom-level").text_content()
    page.keyboard.press("+")
    expect(page.locator("#zoom-level")).not_to_have_text(str(before))
    page.click("#zoom-fit")
    choose_tool(page, "Erase")

    page.locator("#view").focus()
    page.keyboard.press("Space")
    assert picture(downloaded(page)).getpixel((300, 200))[3] == 0  # type: ignore[index]

    page.keyboard.press("Control+z")
    assert picture(downloaded(page)).getpixel((300, 200))[3] == 255  # type: ignore[index]


def test_nothing_can_be_restored_without_an_original(page: Page) -> None:
    original = page.get_by_role("radio", name="Restore")
    choose(page, PHOTO)
    finished(page)
    expect(original).to_be_enabled()

    heic: FilePayload = {"name": "phone.heic", "mimeType": "image/heic", "buffer": encoded(noise((64, 48)), "HEIF")}
    choose(page, heic)
    finished(page, 2)
    page.get_by_role("button", name=re.compile("^phone.heic")).click()

    expect(original).to_be_disabled()


def test_a_browser_without_storage_can_use_the_page(page: Page) -> None:
    page.add_init_script(
        """for (const kind of ["localStorage", "sessionStorage"])
            Object.defineProperty(window, kind, { get() { throw new DOMException("denied", "SecurityError"); } });"""
    )
    page.reload()

    choose(page, PHOTO)

    finished(page)


def test_a_large_photo_keeps_its_size_on_request(start: Callable[..., Service], open_page: Callable[..., Page]) -> None:
    page = open_page(start(MODEL_NAME="lite", ENGINE_PROCESSES=1, MAX_DIMENSION=300))
    choose(page, PHOTO)
    finished(page)
    prepared(page, re.compile("300 × 200 px"))

    page.select_option("#size", "full")
    page.get_by_role("button", name="Cut out again").click()

    prepared(page, re.compile("600 × 400 px"))
