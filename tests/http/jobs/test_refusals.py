"""POST /jobs: refused jobs, which leave nothing."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.errors import error_codes
from app.jobs.folder_files import FolderFiles
from tests.support.job_clients import base64_photo, form, jobs_of, photos, post, stored_files
from tests.support.photos import jpeg

MakeClient = Callable[..., FlaskClient]

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no photo", {"data": {"format": "webp", "x": (io.BytesIO(b"x"), "x")}}, "MISSING_IMAGE", "no photo"),
    ("no body", {}, "MISSING_IMAGE", "no photo"),
    ("empty JSON", {"json": {}}, "MISSING_IMAGE", "no photo"),
    ("empty list", {"json": {"images": []}}, "MISSING_IMAGE", "no photo"),
    ("raw photo", {"data": jpeg(), "content_type": "image/jpeg"}, "MISSING_IMAGE", "neither a multipart form"),
    (
        "urlencoded",
        {"data": "image=abc", "content_type": "application/x-www-form-urlencoded"},
        "MISSING_IMAGE",
        "",
    ),
    ("no boundary", {"data": b"x", "content_type": "multipart/form-data"}, "MISSING_IMAGE", "no boundary"),
    (
        "other boundary",
        {"data": b"--a\r\n", "content_type": "multipart/form-data; boundary=b"},
        "MISSING_IMAGE",
        "",
    ),
    ("text as file", {"data": {"file": "photo.jpg", "x": (io.BytesIO(), "x")}}, "MISSING_IMAGE", "holds text"),
    ("bad JSON", {"data": '{"images": [', "content_type": "application/json"}, "INVALID_JSON", ""),
    ("JSON list", {"json": ["x"]}, "INVALID_JSON", "not an object"),
    ("bad option", {"data": form(photos(1), quality="5")}, "INVALID_PARAMETER", "quality"),
    ("bad option in JSON", {"json": {"images": [base64_photo()], "quality": 5}}, "INVALID_PARAMETER", "quality"),
    ("bad model", {"data": form(photos(1), model="dalle")}, "INVALID_PARAMETER", "model"),
    ("unknown preset", {"data": form(photos(1), preset="nope")}, "INVALID_PARAMETER", "Parameter 'preset' must be"),
    (
        "unknown of two",
        {"data": form(photos(1), presets="web,nope")},
        "INVALID_PARAMETER",
        "Parameter 'presets' must be",
    ),
    ("preset twice", {"data": form(photos(1), presets="web", preset="web")}, "INVALID_PARAMETER", "either"),
    ("field twice", {"data": form(photos(1), format=["png", "webp"])}, "INVALID_PARAMETER", "more than once"),
    (
        "webhook without secret",
        {"data": form(photos(1), webhook_url="https://a.example/")},
        "INVALID_PARAMETER",
        "",
    ),
    ("URL without fetching", {"json": {"image_urls": ["https://a.example/a.jpg"]}}, "INVALID_URL", "disabled"),
    ("images is a text", {"json": {"images": base64_photo()}}, "INVALID_PARAMETER", "must be a list"),
    ("long text elsewhere", {"json": {"image": base64_photo()}}, "INVALID_JSON", "outside the list 'images'"),
    ("images of numbers", {"json": {"images": [1]}}, "INVALID_PARAMETER", "images"),
    ("a null among images", {"json": {"images": [base64_photo(), None]}}, "INVALID_PARAMETER", "Entry 2 of 'images'"),
    ("unknown field", {"json": {"images": [{"image": "", "x": 1}]}}, "INVALID_PARAMETER", "'x'"),
    ("urls of numbers", {"json": {"image_urls": [1]}}, "INVALID_PARAMETER", "image_urls"),
    ("nested option", {"json": {"images": [base64_photo()], "format": ["png"]}}, "INVALID_PARAMETER", "format"),
    (
        "field twice in JSON",
        {"data": b'{"a": 1, "a": 2}', "content_type": "application/json"},
        "INVALID_PARAMETER",
        "",
    ),
    (
        "key too long",
        {"data": form(photos(1)), "headers": {"Idempotency-Key": "k" * 201}},
        "INVALID_PARAMETER",
        "",
    ),
    ("empty key", {"data": form(photos(1)), "headers": {"Idempotency-Key": ""}}, "INVALID_PARAMETER", ""),
    (
        "bad background",
        {"data": form(photos(1), background_file=(io.BytesIO(b"x"), "x"))},
        "UNSUPPORTED_FORMAT",
        "background: ",
    ),
    ("too many photos", {"data": form(photos(4))}, "TOO_MANY_PHOTOS", "3 photos"),
    ("too many photos in JSON", {"json": {"images": [base64_photo()] * 4}}, "TOO_MANY_PHOTOS", "3 photos"),
    ("too many announced", {"data": form(photos(1)), "query_string": "files=4"}, "TOO_MANY_PHOTOS", "3 photos"),
    ("bad announcement", {"data": form(photos(1)), "query_string": "files=x"}, "INVALID_PARAMETER", "files"),
]


@pytest.mark.parametrize(("sent", "code", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_refused_job_leaves_nothing(
    make_jobs_client: MakeClient, folder: Path, sent: dict[str, Any], code: str, words: str
) -> None:
    client = make_jobs_client(jobs_max_files=3)
    answer = client.post("/jobs", **{name: _again(value) for name, value in sent.items()})
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (error_codes()[code].status, code)
    assert words in answer.json["message"] + answer.json["solution"]
    assert stored_files(folder) == []
    assert jobs_of(client).queue_state().queued == 0


def _again(value: Any) -> Any:
    """Return a form whose files can be read once more."""
    if isinstance(value, tuple) and isinstance(value[0], io.BytesIO):
        return (io.BytesIO(value[0].getvalue()), *value[1:])
    if isinstance(value, list):
        return [_again(each) for each in value]
    return {name: _again(each) for name, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(make_jobs_client: MakeClient, folder: Path, chunked: bool) -> None:
    client = make_jobs_client(jobs_max_bytes=1_000_000, max_content_length=100_000)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = (head + jpeg() + bytes(100_000) + b"\r\n") * 12 + b"--b--"
    length: dict[str, Any] = {"content_length": len(body)}
    answer = client.post(
        "/jobs",
        input_stream=io.BytesIO(body),
        content_type="multipart/form-data; boundary=b",
        **({"environ_overrides": {"wsgi.input_terminated": True}} if chunked else length),
    )
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (413, "FILE_TOO_LARGE")
    assert "1000000 bytes" in answer.json["message"]
    assert stored_files(folder) == []


def test_options_in_front_of_the_photos_are_refused_before_them(client: FlaskClient, folder: Path) -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert self.tell() < 65_536 * 2, "the photos were read"
            return super().read(size)

    head = b'--b\r\nContent-Disposition: form-data; name="quality"\r\n\r\n5\r\n'
    photo = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + jpeg() + bytes(500_000)
    answer = client.post(
        "/jobs",
        input_stream=Unread(head + photo),
        content_type="multipart/form-data; boundary=b",
        content_length=len(head + photo),
    )
    assert answer.json is not None
    assert answer.json["code"] == "INVALID_PARAMETER"


@pytest.mark.parametrize("cut", [100, 30_000, 200_000])
def test_an_incomplete_body_leaves_nothing(client: FlaskClient, folder: Path, cut: int) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = head + jpeg() + b"\r\n" + head + jpeg() + bytes(300_000) + b"\r\n--b--\r\n"
    answer = client.post(
        "/jobs",
        input_stream=io.BytesIO(body[:cut]),
        content_type="multipart/form-data; boundary=b",
        content_length=len(body),
    )
    assert answer.status_code == 400
    assert stored_files(folder) == []


def test_an_incomplete_json_body_leaves_nothing(client: FlaskClient, folder: Path) -> None:
    body = f'{{"images": ["{base64_photo()}", "{base64_photo()}"]}}'.encode()
    for cut in (20_000, len(body) - 1):
        answer = client.post(
            "/jobs", input_stream=io.BytesIO(body[:cut]), content_type="application/json", content_length=len(body)
        )
        assert answer.status_code == 400
    assert stored_files(folder) == []


@pytest.mark.parametrize("photo", [1, 3])
def test_a_full_disk_refuses_the_job(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch, photo: int
) -> None:
    create, made = FolderFiles.create, list[str]()

    def fail(self: FolderFiles, key: str) -> Any:
        made.append(key)
        if len(made) == photo:
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(self, key)

    monkeypatch.setattr(FolderFiles, "create", fail)
    answer = post(client, 4)
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (503, "JOBS_UNAVAILABLE")
    assert "No space left" in answer.json["message"]
    assert "Retry-After" in answer.headers
    assert stored_files(folder) == []


def test_a_failure_after_the_job_is_stored_keeps_its_photos(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_photos(_number: int) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("app.http.jobs.submission.keep_photos", count_photos)
    assert post(client, 2).status_code == 500
    assert jobs_of(client).queue_state().queued == len(stored_files(folder)) == 2


def test_without_a_usable_folder_the_body_is_not_read(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    client = make_client(jobs_dir=tmp_path / "file" / "jobs")
    answer = client.post("/jobs", input_stream=None, data=form(photos(1)))
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (503, "JOBS_UNAVAILABLE")


def test_without_a_backend_there_is_no_such_path(make_client: MakeClient) -> None:
    client = make_client(jobs_backend="off")
    assert post(client).status_code == 404
    assert client.get("/jobs").status_code == 404
    assert not any(path.startswith("/jobs") for path in client.get("/openapi.json").json["paths"])  # type: ignore[index]
