"""`/read-file`: images are served, all other paths are refused."""

from __future__ import annotations

import base64
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import jail
from app.engine.pool import EnginePool
from app.errors import ForbiddenPath
from app.http.factory import build_app
from app.http.files import CHUNK_BYTES
from app.imaging.formats import sniff
from app.settings import Settings
from tests.support.photos import encoded, jpeg, opened, photo
from tests.support.waiting import wait_until

URL = "/read-file"
SECRET = b"\x89PNG\r\n\x1a\n the secret of another folder"


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """Two folders with images, links and special files, next to a secret."""
    uploads, outputs, outside = tmp_path / "uploads", tmp_path / "outputs", tmp_path / "outside"
    for folder in (uploads / "deep" / "er", outputs, outside, tmp_path / "uploads-private"):
        folder.mkdir(parents=True)
    for image in (uploads / "cat.jpg", uploads / "deep" / "er" / "cat.jpg", outputs / "result.jpg"):
        image.write_bytes(jpeg("cat"))
    for secret in (outside / "secret.png", tmp_path / "uploads-private" / "secret.png", uploads / ".hidden.png"):
        secret.write_bytes(SECRET)
    (uploads / "link.png").symlink_to(outside / "secret.png")
    (uploads / "near.png").symlink_to("cat.jpg")
    (uploads / "dangling.png").symlink_to("nowhere")
    (uploads / "loop.png").symlink_to("loop.png")
    (uploads / "out").symlink_to(outside)
    (uploads / "deep" / "up").symlink_to("../..")
    (uploads / "self").symlink_to(".")
    (uploads / "device.png").symlink_to("/dev/zero")
    (outputs / "link-in-outputs.png").symlink_to(outside / "secret.png")
    (uploads / "second-name.png").hardlink_to(outside / "secret.png")
    os.mkfifo(uploads / "fifo.png")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(uploads)  # a socket's path has at most 107 bytes
        listening.bind("socket.png")
        os.chdir(here)
        yield tmp_path


@pytest.fixture
def client(folders: Path, make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(upload_dir=folders / "uploads", output_dir=folders / "outputs")


def read(client: FlaskClient, path: object) -> TestResponse:
    return client.post(URL, json={"path": path})


def outcome(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json().get("code", "")


@pytest.mark.parametrize("path", ["cat.jpg", "deep/er/cat.jpg", "result.jpg"])
def test_an_image_in_either_folder_is_served(client: FlaskClient, path: str) -> None:
    response = read(client, path)
    body = response.get_json()
    assert response.status_code == 200
    assert base64.b64decode(body.pop("image")) == jpeg("cat")
    assert body.pop("request_id") == response.headers["X-Request-ID"]
    assert body == {"success": True, "mimetype": "image/jpeg", "size": len(jpeg("cat"))}
    assert response.content_length == len(response.data)
    assert response.headers["Cache-Control"] == "no-store"


HOSTILE = [
    # outside the folder
    "..",
    "../outside/secret.png",
    "../uploads-private/secret.png",
    "../uploads/cat.jpg",
    "deep/../../outside/secret.png",
    "deep/../cat.jpg",
    "nothing/../cat.jpg",
    "cat.jpg/..",
    "cat.jpg/../cat.jpg",
    # absolute
    "/etc/passwd",
    "//etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "/",
    "{uploads}/cat.jpg",
    "file:///etc/passwd",
    # not plain
    ".",
    "./cat.jpg",
    "deep//er/cat.jpg",
    "cat.jpg/",
    "deep/./er/cat.jpg",
    ".hidden.png",
    "~/secret.png",
    "~root",
    " ",
    # disguised
    "..\\outside\\secret.png",
    "..\\..\\",
    "C:\\Windows\\win.ini",
    "C:cat.jpg",
    "cat.jpg::$DATA",
    "\\\\server\\share\\secret.png",
    "%2e%2e/outside/secret.png",
    "..%2foutside%2fsecret.png",
    "%252e%252e%252foutside",
    "..%5c..%5coutside",
    "cat.jpg%00.png",
    "cat.jpg\x00",
    "cat.jpg\x00.png",
    "\x00",
    "cat.jpg\n",
    "\r\ncat.jpg",
    "\uff0e\uff0e/outside/secret.png",
    "\u2025/outside/secret.png",
    "deep\uff0fer\uff0fcat.jpg",
    "\udce2\udc80.png",
    "\ud800",
    # too long
    "a" * 256,
    "\u00e9" * 128,
    "a/" * 2048 + "cat.jpg",
    "a" * 60_000,
    # links
    "link.png",
    "near.png",
    "dangling.png",
    "loop.png",
    "loop.png/cat.jpg",
    "out/secret.png",
    "deep/up/outside/secret.png",
    "deep/up/uploads/cat.jpg",
    "self/cat.jpg",
    "device.png",
    "link-in-outputs.png",
    "second-name.png",
    # not regular files
    "fifo.png",
    "socket.png",
    "deep",
    "deep/er",
    "cat.jpg/cat.jpg",
]


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path[:40]))
def test_a_hostile_path_is_refused(client: FlaskClient, folders: Path, path: str) -> None:
    before, started = open_descriptors(), time.monotonic()
    response = read(client, path.replace("{uploads}", str(folders / "uploads")))
    assert outcome(response) == (403, "FORBIDDEN_PATH")
    assert response.get_json()["details"] == response.get_json()["message"]
    assert b"secret of another" not in base64.b64decode(response.get_json().get("image", ""))
    assert time.monotonic() - started < 60  # no wait for a writer of the fifo, no read of the endless device
    wait_until(lambda: open_descriptors() <= before)  # other threads open and close files meanwhile


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_table_of_hostile_paths_is_complete() -> None:
    assert len(set(HOSTILE)) >= 30


@pytest.mark.skipif(os.geteuid() != 0 or not hasattr(os, "mknod"), reason="only root can create devices")
def test_a_device_is_refused(client: FlaskClient, folders: Path) -> None:
    try:
        os.mknod(folders / "uploads" / "zero.png", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container does not allow devices")
    assert outcome(read(client, "zero.png")) == (403, "FORBIDDEN_PATH")


@pytest.mark.parametrize("path", ["nothing.png", "deep/nothing.png", "nothing/at/all.png", "caf\u00e9.png"])
def test_a_missing_file_is_not_found(client: FlaskClient, path: str) -> None:
    assert outcome(read(client, path)) == (404, "NOT_FOUND")


def test_missing_folders_are_empty(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    client = make_client(upload_dir=tmp_path / "a", output_dir=tmp_path / "b")
    assert outcome(read(client, "cat.jpg")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("content", "size"), [(b"root:x:0:0\n", 11), (b"", 0), (b"PK\x03\x04 a zip", 10)])
def test_only_images_are_served(client: FlaskClient, folders: Path, content: bytes, size: int) -> None:
    (folders / "uploads" / "text.png").write_bytes(content)
    assert outcome(read(client, "text.png")) == (415, "UNSUPPORTED_FORMAT")


def test_a_large_file_is_refused(make_client: Callable[..., FlaskClient], folders: Path) -> None:
    client = make_client(upload_dir=folders / "uploads", max_image_bytes=2048)
    assert outcome(read(client, "cat.jpg")) == (413, "FILE_TOO_LARGE")


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 3])
def test_chunks_of_any_length_make_one_image(client: FlaskClient, folders: Path, extra: int) -> None:
    content = jpeg().ljust(2 * CHUNK_BYTES + extra, b"\x01")
    (folders / "uploads" / "padded.jpg").write_bytes(content)
    response = read(client, "padded.jpg")
    assert base64.b64decode(response.get_json()["image"], validate=True) == content
    assert response.content_length == len(response.data)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_type_is_detected_from_the_content(client: FlaskClient, folders: Path, format: str) -> None:
    content = encoded(photo("cat").resize((32, 32)), format)
    (folders / "outputs" / "image.jpg").write_bytes(content)
    assert sniff(content) == format
    assert read(client, "image.jpg").get_json()["mimetype"] == f"image/{format.lower()}"


def test_a_saved_result_can_be_read(real_pool_client: FlaskClient) -> None:
    saved = real_pool_client.post("/remove-background?save=true", data=jpeg())
    response = read(real_pool_client, saved.headers["X-Saved-As"])
    content = base64.b64decode(response.get_json()["image"])
    assert content == saved.data
    assert opened(content).mode == "RGBA"


@pytest.fixture
def real_pool_client(tmp_path: Path, pool: EnginePool) -> FlaskClient:
    return build_app(Settings(output_dir=tmp_path / "kept"), lambda *_: pool).test_client()


@pytest.mark.parametrize("body", [{}, {"path": ""}, {"path": None}, {"path": ["cat.jpg"]}, {"path": {"a": 1}}])
def test_a_request_without_a_path_is_refused(client: FlaskClient, body: dict[str, object]) -> None:
    assert outcome(client.post(URL, json=body)) == (400, "INVALID_PARAMETER")


@pytest.mark.parametrize("body", [b"", b"cat.jpg", b'["cat.jpg"]', b'{"path": "cat.jpg"', b"\xff\xfe"])
def test_a_body_that_is_not_a_json_object_is_refused(client: FlaskClient, body: bytes) -> None:
    assert outcome(client.post(URL, data=body)) == (400, "INVALID_JSON")


def test_a_path_sent_twice_is_refused(client: FlaskClient) -> None:
    body = b'{"path": "cat.jpg", "path": "../outside/secret.png"}'
    assert outcome(client.post(URL, data=body)) == (400, "INVALID_PARAMETER")


def test_a_huge_body_is_refused(client: FlaskClient) -> None:
    assert outcome(read(client, "a" * 70_000)) == (413, "FILE_TOO_LARGE")


def test_a_file_replaced_by_a_link_is_not_followed(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the file between the check and the opening (TOCTOU)."""
    stat = os.stat

    def replace_after_stat(*arguments: object, **options: object) -> os.stat_result:
        status = stat(*arguments, **options)  # type: ignore[arg-type]
        (folders / "uploads" / "cat.jpg").unlink()
        (folders / "uploads" / "cat.jpg").symlink_to(folders / "uploads-private" / "secret.png")
        return status

    monkeypatch.setattr("app.jail.os.stat", replace_after_stat)
    with pytest.raises(ForbiddenPath):
        jail.open_below(folders / "uploads", "cat.jpg")


def test_a_file_replaced_by_a_fifo_does_not_block(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = (folders / "uploads" / "cat.jpg").lstat()
    monkeypatch.setattr("app.jail.os.stat", lambda *arguments, **options: status)
    with pytest.raises(ForbiddenPath):
        jail.open_below(folders / "uploads", "fifo.png")
