"""Many pictures through `/jobs` in Chromium, over a real service with the real model."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, Request, Route, expect

from tests.support.browser import violations
from tests.support.job_clients import stored_files
from tests.support.photos import jpeg
from tests.support.service import Service, crash, end, gunicorn
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

PHOTO = jpeg("coffee")
SETTINGS: dict[str, Any] = {"MODEL_NAME": "lite", "ENGINE_PROCESSES": 1}
HELD_APP = "tests.support.held_app:create_held_app()"


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that holds back photos of jobs while it exists."""
    return tmp_path_factory.mktemp("hold") / "hold"


@pytest.fixture(scope="module")
def service(start: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory, hold: Path) -> Service:
    return start(HELD_APP, **SETTINGS | {"JOBS_DIR": tmp_path_factory.mktemp("jobs"), "HOLD": hold})


@pytest.fixture
def held(hold: Path) -> Iterator[Path]:
    """Hold back all photos of jobs except the first ones, until the test deletes this file."""
    hold.touch()
    yield hold
    hold.unlink(missing_ok=True)


@pytest.fixture
def jobs_service(start: Callable[..., Service], tmp_path: Path) -> Callable[..., Service]:
    def start_service(**settings: Any) -> Service:
        return start(**SETTINGS | {"JOBS_DIR": tmp_path / "jobs"} | settings)

    return start_service


def photos(count: int, **others: bytes) -> list[FilePayload]:
    """Return photos with distinct names, and other files."""
    files = {f"photo-{number}.jpg": PHOTO for number in range(1, count + 1)}
    files |= {f"{name}.jpg": body for name, body in others.items()}
    return [FilePayload(name=name, mimeType="image/jpeg", buffer=body) for name, body in files.items()]


def choose(page: Page, files: list[FilePayload]) -> None:
    page.set_input_files("#files", files)


def posts(page: Page) -> list[str]:
    """Return the paths of the POST requests that the page sends from now on."""
    paths: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            paths.append(re.sub(r"^https?://[^/]+", "", request.url))

    page.on("request", note)
    return paths


def cards(page: Page, state: str, count: int) -> None:
    expect(page.locator(f".card[data-state={state}]")).to_have_count(count)


def some_done(page: Page) -> None:
    expect(page.locator(".card[data-state=done]").first).to_be_visible()


def zip_names(page: Page) -> list[str]:
    with page.expect_download() as download:
        page.click("#zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        cutout = Image.open(io.BytesIO(archive.read("photo-1.png")))
    assert cutout.size == (600, 400)
    assert cutout.getpixel((2, 2))[3] == 0  # type: ignore[index]
    return names


def test_many_photos_are_one_job_with_its_zip(page: Page, held: Path) -> None:
    sent = posts(page)

    choose(page, photos(24, damaged=PHOTO[:3000]))
    expect(page.locator(".job")).to_be_visible()
    assert violations(page) == []
    held.unlink()
    cards(page, "done", 24)

    assert sent == ["/jobs?files=25"]
    expect(page.locator("#summary")).to_have_text("24 of 25 done, 1 failed")
    expect(page.locator(".job")).to_have_count(0)
    expect(page.locator("#weight")).to_contain_text("600 × 400 px")
    expect(page.locator("#wipe")).to_be_visible()  # the original is beside the result
    names = zip_names(page)
    assert names == [*(f"photo-{number}.png" for number in range(1, 25)), "manifest.json"]
    damaged = page.locator(".card", has_text="damaged.jpg")
    expect(damaged).to_contain_text("The file is damaged")
    damaged.get_by_role("button", name="Try again").click()
    expect(damaged).to_contain_text("The file is damaged")
    assert sent[1:] == ["/remove-background"]


def test_fewer_photos_are_sent_one_by_one(page: Page) -> None:
    sent = posts(page)

    choose(page, photos(20))
    cards(page, "done", 20)

    assert sent == ["/remove-background"] * 20


def test_choices_of_the_panel_are_in_the_zip(page: Page) -> None:
    choose(page, photos(21))
    cards(page, "done", 21)

    page.get_by_text("Blue", exact=True).dispatch_event("click")
    page.select_option("#format", "jpeg")
    with page.expect_download() as download:
        page.click("#zip")

    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 21
        picture = Image.open(io.BytesIO(archive.read("photo-21.jpg")))
    assert picture.getpixel((2, 2))[2] > 200  # type: ignore[index]


def test_a_reload_loses_nothing(page: Page, held: Path) -> None:
    choose(page, photos(30))
    some_done(page)

    page.reload()
    held.unlink()

    cards(page, "done", 30)
    expect(page.locator(".card").nth(6)).to_contain_text("photo-7.jpg")
    assert len(zip_names(page)) == 31
    page.locator(".card-open").first.click()
    expect(page.locator("#weight")).to_contain_text("600 × 400 px")


def test_cancel_keeps_what_is_done(page: Page, service: Service, held: Path) -> None:
    sent = posts(page)
    choose(page, photos(24))
    some_done(page)

    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        page.get_by_role("button", name="Cancel", exact=True).click()

    held.unlink()
    assert deleted.value.status == 204
    assert service.request(deleted.value.url.partition(str(service.port))[2]).status == 404
    expect(page.locator(".job")).to_have_count(0)
    done = page.locator(".card[data-state=done]").count()
    cards(page, "cancelled", 24 - done)
    expect(page.locator("#summary")).to_have_text(f"{done} of 24 done, {24 - done} cancelled")
    assert len(zip_names(page)) == done
    page.locator(".card[data-state=cancelled]").first.get_by_role("button", name="Try again").click()
    cards(page, "done", done + 1)
    assert sent[1:] == ["/remove-background"]


def test_removing_all_deletes_the_job(page: Page) -> None:
    choose(page, photos(21))
    cards(page, "done", 21)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("#clear")
    cards(page, "done", 21)

    page.once("dialog", lambda dialog: dialog.accept())
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        page.click("#clear")

    assert deleted.value.status == 204
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#sample")).to_be_visible()
    page.reload()
    expect(page.locator("#sample")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)


def test_a_cancelled_upload_stores_nothing(
    jobs_service: Callable[..., Service], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(jobs_service())
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 30_000}
    network.send("Network.emulateNetworkConditions", slow)
    choose(page, photos(40))
    expect(page.locator(".job")).to_contain_text("Uploading 40 pictures")

    page.get_by_role("button", name="Cancel", exact=True).click()

    cards(page, "cancelled", 40)
    wait_until(lambda: not stored_files(tmp_path / "jobs"))


def test_what_exceeds_the_limit_waits(jobs_service: Callable[..., Service], open_page: Callable[..., Page]) -> None:
    page = open_page(jobs_service(RATE_LIMIT_JOBS_PER_HOUR=25))
    sent = posts(page)

    choose(page, photos(30))
    cards(page, "done", 25)

    cards(page, "queued", 5)
    expect(page.locator(".job")).to_have_count(1)
    expect(page.locator(".job")).to_contain_text(
        re.compile(r"5 pictures: Your limit is used up. Next try in \d+:\d\d min")
    )
    expect(page.locator(".job progress")).to_have_js_property("value", 0)
    assert violations(page) == []
    assert sent == ["/jobs?files=30", "/jobs?files=25"]  # the rest is not uploaded in vain


def test_a_deleted_file_is_left_out_of_its_job(page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / f"photo-{number}.jpg" for number in range(22)]
    for path in paths:
        path.write_bytes(PHOTO)
    page.context.set_offline(True)
    page.set_input_files("#files", paths)
    expect(page.locator(".job")).to_contain_text("You are offline")

    paths[3].unlink()
    page.context.set_offline(False)

    cards(page, "done", 21)
    expect(page.locator(".card[data-state=failed]")).to_contain_text("The file can't be read")


@pytest.mark.parametrize("status", [404, 503])
def test_without_jobs_photos_are_sent_one_by_one(page: Page, status: int) -> None:
    code = {404: "NOT_FOUND", 503: "JOBS_UNAVAILABLE"}[status]

    def refuse(route: Route) -> None:
        route.fulfill(status=status, content_type="application/json", body=json.dumps({"code": code}))

    page.route("**/jobs?*", refuse)
    sent = posts(page)

    choose(page, photos(21))
    cards(page, "done", 21)

    assert sent == ["/jobs?files=21", *["/remove-background"] * 21]


def test_jobs_that_are_off_are_not_tried(jobs_service: Callable[..., Service], open_page: Callable[..., Page]) -> None:
    page = open_page(jobs_service(JOBS_BACKEND="off"))
    sent = posts(page)

    choose(page, photos(21))
    cards(page, "done", 21)

    assert sent == ["/remove-background"] * 21


def test_a_job_needs_the_key_for_everything(
    jobs_service: Callable[..., Service], open_page: Callable[..., Page]
) -> None:
    page = open_page(jobs_service(API_KEYS="right"))
    choose(page, photos(22))
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator(".job")).to_contain_text("An API key is needed")

    page.fill("#key-field", "right")
    page.get_by_role("button", name="Continue").click()
    cards(page, "done", 22)

    assert len(zip_names(page)) == 23
    page.reload()
    expect(page.get_by_role("dialog")).to_be_visible()  # the key was not kept
    page.fill("#key-field", "right")
    page.get_by_role("button", name="Continue").click()
    cards(page, "done", 22)


def test_a_job_goes_on_after_a_crash_of_the_server(
    start: Callable[..., Service], open_page: Callable[..., Page], tmp_path: Path, held: Path
) -> None:
    settings = {name: str(value) for name, value in (SETTINGS | {"JOBS_DIR": tmp_path / "jobs"}).items()}
    service = start(HELD_APP, HOLD=held, **settings)
    page = open_page(service)
    choose(page, photos(24))
    some_done(page)
    crash(service)
    expect(page.locator(".job")).to_contain_text("The server doesn't answer")

    log = tmp_path / "log"
    environment = {"HOST": "127.0.0.1", "PORT": str(service.port), **settings}
    again = Service(service.port, log, gunicorn(environment, log, "app:create_app()"))
    try:
        wait_until(again.ready)
        cards(page, "done", 24)
        assert len(zip_names(page)) == 25
    finally:
        end(again)


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Stop all processes of a service: its connections stay open, and silent."""
    processes = [psutil.Process(service.process.pid), *service.tree()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(processes):
            process.resume()


def test_a_job_goes_on_after_a_silent_connection(
    start: Callable[..., Service], open_page: Callable[..., Page], tmp_path: Path, held: Path
) -> None:
    service = start(HELD_APP, HOLD=held, **SETTINGS | {"JOBS_DIR": tmp_path / "jobs"})
    page = open_page(service)
    page.clock.install()
    page.reload()
    choose(page, photos(24))
    some_done(page)
    with frozen(service):
        for _ in range(4):  # the stream, and attempts to open it again
            page.clock.run_for(50_000)
        expect(page.locator(".job")).to_contain_text("The server doesn't answer")
    held.unlink()
    cards(page, "done", 24)


def test_a_deleted_job_is_explained(page: Page, held: Path) -> None:
    choose(page, photos(24))
    some_done(page)
    job = page.evaluate("JSON.parse(sessionStorage['background-remover-jobs'])[0]")

    page.evaluate("(id) => fetch(`/jobs/${id}`, { method: 'DELETE' })", job)

    expect(page.locator(".card[data-state=failed]").first).to_contain_text("The server has deleted this job")
    page.reload()
    expect(page.locator(".card")).to_have_count(0)
