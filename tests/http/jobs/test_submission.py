"""POST /jobs: accepted forms, failed photos, refused jobs, repeated requests."""

from __future__ import annotations

import base64
import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.errors import error_codes
from app.jobs.folder_files import FolderFiles
from tests.support.job_clients import form, jobs_of, photos, post, stored_files
from tests.support.photos import jpeg

MakeClient = Callable[..., FlaskClient]
NATIVE = "/remove-background"


def names(answer: Any) -> list[str]:
    return [item["name"] for item in answer.json["items"]]


def errors(answer: Any) -> list[str]:
    return [item["error"]["code"] if item["error"] else "" for item in answer.json["items"]]


def encoded(content: bytes = b"") -> str:
    return base64.b64encode(content or jpeg()).decode()


# Accepted


def test_a_form_of_photos_is_accepted(client: FlaskClient) -> None:
    answer = post(client, 3)
    assert answer.status_code == 202
    assert answer.json is not None
    assert answer.headers["Location"] == f"/jobs/{answer.json['id']}" == answer.json["links"]["self"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert names(answer) == ["photo-1.jpg", "photo-2.jpg", "photo-3.jpg"]
    assert answer.json["state"] == "queued"
    assert answer.json["counts"] == {"total": 3, "queued": 3, "running": 0, "done": 0, "failed": 0}


@pytest.mark.parametrize("field", ["file", "file[]", "file[7]", "image", "image[]"])
def test_a_photo_has_any_of_the_names(client: FlaskClient, field: str) -> None:
    assert names(client.post("/jobs", data=form(photos(2), field))) == ["photo-1.jpg", "photo-2.jpg"]


def test_photos_are_stored_as_they_were_sent(client: FlaskClient, folder: Path) -> None:
    files = [("a.jpg", jpeg("cat")), ("b.jpg", jpeg("coffee"))]
    answer = client.post("/jobs", data=form(files))
    assert answer.json is not None
    job = jobs_of(client).find(answer.json["id"], "")
    items = jobs_of(client).items(job)
    assert [jobs_of(client).files.read(item.key) for item in items] == [content for _, content in files]
    assert [item.size for item in items] == [len(content) for _, content in files]


def test_a_part_without_a_name_is_a_photo_if_it_is_an_image(client: FlaskClient) -> None:
    part = b'Content-Disposition: form-data; name="file"\r\n\r\n' + jpeg()
    body = b"--b\r\n" + part + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n"
    answer = client.post("/jobs", data=body, content_type="multipart/form-data; boundary=b")
    assert names(answer) == ["photo-1", "photo-2"]


def test_a_name_that_is_not_utf8_is_shown_with_replacement_characters(client: FlaskClient) -> None:
    body = b""
    for name in (b"caf\xe9.jpg", b"\xff\xfe", "café.jpg".encode()):
        body += b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n' % (name, jpeg())
    answer = client.post("/jobs", data=body + b"--b--", content_type="multipart/form-data; boundary=b")
    assert (answer.status_code, errors(answer)) == (202, ["", "", ""])
    assert names(answer) == ["caf\ufffd.jpg", "\ufffd\ufffd", "café.jpg"]


def test_an_empty_file_input_of_a_browser_is_no_photo(client: FlaskClient) -> None:
    answer = client.post("/jobs", data=form([("", b""), *photos(1)]))
    assert names(answer) == ["photo-1.jpg"]


def test_json_with_photos_is_accepted(client: FlaskClient) -> None:
    images = [encoded(), {"name": "folder/shoe.png", "image": f"data:image/jpeg;base64,{encoded()}"}]
    answer = client.post("/jobs", json={"images": images, "quality": 90, "crop": True, "model": None})
    assert (answer.status_code, names(answer), errors(answer)) == (202, ["photo-1", "shoe.png"], ["", ""])
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert job.variants[0].fields == {"quality": "90", "crop": "true"}
    assert [jobs_of(client).files.read(item.key) for item in jobs_of(client).items(job)] == [jpeg()] * 2


def test_json_is_recognized_by_its_content(client: FlaskClient) -> None:
    body = f'  {{"images": ["{encoded()}"]}}'
    answer = client.post("/jobs", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"image_urls": ["https://a.example/1.jpg?x=1", "https://a.example/s/2.jpg"]}},
        {"json": {"image_urls": "https://a.example/1.jpg?x=1\nhttps://a.example/s/2.jpg"}},
        {"data": {"image_urls": "https://a.example/1.jpg?x=1  https://a.example/s/2.jpg", "x": (io.BytesIO(), "")}},
        {"data": {"image_urls": ["https://a.example/1.jpg?x=1", "https://a.example/s/2.jpg"], "y": (io.BytesIO(), "")}},
    ],
)
def test_urls_of_photos_are_accepted(make_jobs_client: MakeClient, sent: Any) -> None:
    client = make_jobs_client(allow_url_fetch=True)
    answer = client.post("/jobs", **sent)
    assert (answer.status_code, names(answer)) == (202, ["1.jpg", "2.jpg"])
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert jobs_of(client).item(job, 1).url == "https://a.example/1.jpg?x=1"


def test_files_and_urls_keep_their_order(make_jobs_client: MakeClient) -> None:
    parts = [("file", "a.jpg"), ("image_urls", "https://x.example/b.jpg"), ("file", "c.jpg")]
    body = b""
    for name, value in parts:
        file = f'; filename="{value}"' if name == "file" else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += (jpeg() if file else value.encode()) + b"\r\n"
    answer = make_jobs_client(allow_url_fetch=True).post(
        "/jobs", data=body + b"--b--", content_type="multipart/form-data; boundary=b"
    )
    assert names(answer) == ["a.jpg", "b.jpg", "c.jpg"]


def test_presets_are_variants(client: FlaskClient) -> None:
    answer = post(client, fields={"presets": "amazon, Thumbnail,amazon", "quality": "77"})
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert [variant.name for variant in job.variants] == ["amazon", "thumbnail"]
    assert {variant.fields["quality"] for variant in job.variants} == {"77"}


def test_one_preset_is_a_variant_with_its_name(client: FlaskClient) -> None:
    answer = post(client, path="/jobs?preset=web")
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert [(variant.name, variant.fields["format"]) for variant in job.variants] == [("web", "JPEG")]


def test_presets_can_be_a_list_in_json(client: FlaskClient) -> None:
    answer = client.post("/jobs", json={"images": [encoded()], "presets": ["web", "email"]})
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert [variant.name for variant in job.variants] == ["web", "email"]


def test_the_body_overrides_the_query(client: FlaskClient) -> None:
    answer = post(client, path="/jobs?format=webp&quality=50", fields={"format": "jpeg"})
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert job.variants[0].fields == {"format": "jpeg", "quality": "50"}


def test_names_without_effect_are_listed(client: FlaskClient) -> None:
    fields = {"save": "1", "on_error": "original", "unknown": "1", "other_file": (io.BytesIO(b"x"), "x.txt")}
    answer = post(client, fields=fields)
    assert answer.headers["X-Ignored-Params"] == "on_error, other_file, save, unknown"


def test_a_background_is_stored(client: FlaskClient) -> None:
    answer = post(client, fields={"background_file": (io.BytesIO(jpeg("cat")), "beach.jpg")})
    job = jobs_of(client).find(answer.json["id"], "")  # type: ignore[index]
    assert jobs_of(client).files.read(job.background) == jpeg("cat")
    assert job.counts.total == 1


def test_a_webhook_is_stored(make_jobs_client: MakeClient) -> None:
    client = make_jobs_client(webhook_secret="s" * 32)
    answer = post(client, fields={"webhook_url": "https://shop.example/hook"})
    assert jobs_of(client).find(answer.json["id"], "").webhook_url == "https://shop.example/hook"  # type: ignore[index]


def test_a_thousand_photos_of_one_byte_are_a_thousand_failed_photos(client: FlaskClient) -> None:
    answer = client.post("/jobs", data=form([(f"{number}.jpg", b"x") for number in range(1000)]))
    assert answer.json is not None
    assert answer.json["counts"] == {"total": 1000, "queued": 0, "running": 0, "done": 0, "failed": 1000}
    assert set(errors(answer)) == {"UNSUPPORTED_FORMAT"}
    assert answer.json["state"] == "done"


# Failed photos


def test_a_bad_photo_fails_alone(make_jobs_client: MakeClient, folder: Path) -> None:
    client = make_jobs_client(max_image_bytes=len(jpeg()))
    files = [("empty.jpg", b""), ("text.jpg", b"text" * 100), ("large.jpg", jpeg() + b"x"), ("good.jpg", jpeg())]
    answer = client.post("/jobs", data=form(files))
    assert answer.status_code == 202
    assert errors(answer) == ["EMPTY_FILE", "UNSUPPORTED_FORMAT", "FILE_TOO_LARGE", ""]
    assert len(stored_files(folder)) == 1


def test_the_error_of_a_photo_is_that_of_a_single_one(make_jobs_client: MakeClient) -> None:
    client = make_jobs_client(max_image_bytes=2000)
    for content in (b"text" * 100, jpeg()):
        single: Any = client.post(NATIVE, data=content, content_type="image/jpeg").json
        answer: Any = client.post("/jobs", data=form([("a.jpg", content)])).json
        assert answer["items"][0]["error"] | {"request_id": ""} == single | {"request_id": ""}


@pytest.mark.parametrize("text", ["!!!!", "A" * 5000 + "!", "data:image/png,abcd", "A===A" + "A" * 2000, "AAAAA"])
def test_a_photo_that_is_not_base64_fails_alone(client: FlaskClient, text: str) -> None:
    answer = client.post("/jobs", json={"images": [text, encoded()]})
    assert (answer.status_code, errors(answer)) == (202, ["INVALID_BASE64", ""])


# Names


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd.jpg", "passwd.jpg"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\x\\shoe.jpg", "shoe.jpg"),
        ("..", "photo-1"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("a\x07b.jpg", "ab.jpg"),
        ("ünï çødé 鞋.jpg", "ünï çødé 鞋.jpg"),
        ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
        ("鞋" * 255 + ".jpg", "鞋" * 65 + ".jpg"),
        ("a<b>c.jpg", "a_b_c.jpg"),
    ],
)
def test_names_are_safe(client: FlaskClient, sent: str, shown: str) -> None:
    answer = client.post("/jobs", json={"images": [{"name": sent, "image": encoded()}]})
    assert names(answer) == [shown]
    assert len(shown.encode()) <= 200


# Refused jobs


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
    ("bad option in JSON", {"json": {"images": [encoded()], "quality": 5}}, "INVALID_PARAMETER", "quality"),
    ("bad model", {"data": form(photos(1), model="dalle")}, "INVALID_PARAMETER", "model"),
    ("unknown preset", {"data": form(photos(1), presets="web,nope")}, "INVALID_PARAMETER", "nope"),
    ("preset twice", {"data": form(photos(1), presets="web", preset="web")}, "INVALID_PARAMETER", "either"),
    ("field twice", {"data": form(photos(1), format=["png", "webp"])}, "INVALID_PARAMETER", "more than once"),
    (
        "webhook without secret",
        {"data": form(photos(1), webhook_url="https://a.example/")},
        "INVALID_PARAMETER",
        "",
    ),
    ("URL without fetching", {"json": {"image_urls": ["https://a.example/a.jpg"]}}, "INVALID_URL", "disabled"),
    ("images is a text", {"json": {"images": encoded()}}, "INVALID_PARAMETER", "must be a list"),
    ("long text elsewhere", {"json": {"image": encoded()}}, "INVALID_JSON", "outside the list 'images'"),
    ("images of numbers", {"json": {"images": [1]}}, "INVALID_PARAMETER", "images"),
    ("a null among images", {"json": {"images": [encoded(), None]}}, "INVALID_PARAMETER", "Entry 2 of 'images'"),
    ("unknown field", {"json": {"images": [{"image": "", "x": 1}]}}, "INVALID_PARAMETER", "'x'"),
    ("urls of numbers", {"json": {"image_urls": [1]}}, "INVALID_PARAMETER", "image_urls"),
    ("nested option", {"json": {"images": [encoded()], "format": ["png"]}}, "INVALID_PARAMETER", "format"),
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
    ("too many photos in JSON", {"json": {"images": [encoded()] * 4}}, "TOO_MANY_PHOTOS", "3 photos"),
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
    body = f'{{"images": ["{encoded()}", "{encoded()}"]}}'.encode()
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


# Repeated requests

KEY = {"Idempotency-Key": "order 17"}


def ids(*answers: Any) -> list[str]:
    return [answer.json["id"] for answer in answers]


def test_a_repeated_request_gets_the_same_job(client: FlaskClient, folder: Path) -> None:
    first, second = (post(client, 2, headers=KEY, fields={"quality": "90"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert len(set(ids(first, second))) == 1
    assert second.headers["Location"] == first.headers["Location"]
    assert len(stored_files(folder)) == 2


def test_other_content_with_the_same_key_is_refused(client: FlaskClient, folder: Path) -> None:
    post(client, 2, headers=KEY)
    for other in (
        post(client, 1, headers=KEY),
        post(client, 2, headers=KEY, fields={"quality": "90"}),
        post(client, 2, headers=KEY, fields={"background_file": (io.BytesIO(jpeg()), "b.jpg")}),
        client.post("/jobs", data=form([("photo-1.jpg", jpeg("cat")), ("photo-2.jpg", jpeg())]), headers=KEY),
        client.post("/jobs", data=form([("x.jpg", jpeg()), ("photo-2.jpg", jpeg())]), headers=KEY),
    ):
        assert other.json is not None
        assert (other.status_code, other.json["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert len(stored_files(folder)) == 2


def test_the_same_content_in_another_form_is_the_same_job(client: FlaskClient) -> None:
    first = client.post("/jobs", data=form([("a.jpg", jpeg())], quality="90"), headers=KEY)
    second = client.post("/jobs?quality=90", data=form([("a.jpg", jpeg())], "image"), headers=KEY)
    third = client.post("/jobs", json={"images": [{"name": "a.jpg", "image": encoded()}], "quality": 90}, headers=KEY)
    assert len(set(ids(first, second, third))) == 1


def test_another_client_has_keys_of_its_own(client: FlaskClient) -> None:
    answers = [
        post(client, headers=KEY, environ_overrides={"REMOTE_ADDR": address}) for address in ("192.0.2.1", "192.0.2.2")
    ]
    assert len(set(ids(*answers))) == 2


def test_without_a_key_each_request_makes_a_job(client: FlaskClient) -> None:
    assert len(set(ids(post(client), post(client)))) == 2
