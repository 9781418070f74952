"""Bodies of requests: all valid forms of a photo, and invalid ones."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import stream_encode_multipart

from app.errors import EngineCrashed
from app.http.dispositions import content_disposition
from tests.support.doubles import FakePool, failing
from tests.support.photos import jpeg

PHOTO = jpeg("coffee")
TEXT = base64.b64encode(PHOTO).decode()
URL = "/remove-background"


def part(data: bytes = PHOTO, name: str = "photo.jpg") -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), name


GOOD = {
    "multipart file": {"data": {"file": part()}},
    "multipart file named image": {"data": {"image": part()}},
    "file without a name": {"data": {"file": part(name="")}},
    "base64 in multipart": {"data": {"image": TEXT, "quality": "50"}, "content_type": "multipart/form-data"},
    "raw": {"data": PHOTO, "content_type": "image/jpeg"},
    "raw without a type": {"data": PHOTO},
    "raw declared as another format": {"data": PHOTO, "content_type": "image/png"},
    "raw as curl --data-binary declares it": {"data": PHOTO, "content_type": "application/x-www-form-urlencoded"},
    "raw declared as JSON": {"data": PHOTO, "content_type": "application/json"},
    "JSON": {"json": {"image": TEXT}},
    "JSON data URI": {"json": {"image": f"data:image/jpeg;base64,{TEXT}"}},
    "JSON data URI in capitals": {"json": {"image": f"DATA:image/jpeg;BASE64,{TEXT}"}},
    "JSON with line breaks": {"json": {"image": "\r\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76))}},
    "JSON with spaces": {"json": {"image": " ".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76)) + " "}},
    "JSON with a whole number as a float": {"json": {"image": TEXT, "quality": 85.0}},
    "multipart text with spaces": {
        "data": {"image": " ".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76))},
        "content_type": "multipart/form-data",
    },
    "list of one file": {"data": {"file[]": part()}},
    "list of one file with its index": {"data": {"file[0]": part()}},
    "list of one file named image": {"data": {"image[]": part()}},
    "JSON without padding": {"json": {"image": TEXT.rstrip("=")}},
    "JSON without a type": {"data": json.dumps({"image": TEXT})},
    "JSON with charset": {"data": json.dumps({"image": TEXT}), "content_type": "application/json; charset=utf-8"},
    "form": {"data": {"image": TEXT}, "content_type": "application/x-www-form-urlencoded"},
    "form with unescaped plus": {"data": f"image={TEXT}", "content_type": "application/x-www-form-urlencoded"},
}


@pytest.mark.parametrize("endpoint", ["/remove-background", "/remove-background-preview", "/remove-background-base64"])
@pytest.mark.parametrize("request_", GOOD.values(), ids=GOOD.keys())
def test_an_image_is_read_from_every_form(
    request_: dict[str, Any], endpoint: str, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    data = request_.get("data")
    if isinstance(data, dict):  # streams can be read only once
        request_ = request_ | {"data": {k: part(name=v[1]) if isinstance(v, tuple) else v for k, v in data.items()}}
    assert fast_client.post(endpoint, **request_).status_code == 200
    assert fake_pool.requests[0].image == PHOTO


BAD = {
    "nothing": ({}, 400, "MISSING_IMAGE"),
    "empty raw image": ({"data": b"", "content_type": "image/png"}, 400, "EMPTY_FILE"),
    "empty form": ({"data": {"quality": "50"}}, 400, "MISSING_IMAGE"),
    "file as text": ({"data": {"file": "photo.jpg"}, "content_type": "multipart/form-data"}, 400, "MISSING_IMAGE"),
    "empty file": ({"data": {"file": part(b"")}}, 400, "EMPTY_FILE"),
    "empty file field": ({"data": {"file": part(b"", "")}}, 400, "MISSING_IMAGE"),
    "two files": ({"data": {"file": part(), "image": part()}}, 400, "MULTIPLE_SOURCES"),
    "file and base64": ({"data": {"file": part(), "image": TEXT}}, 400, "MULTIPLE_SOURCES"),
    "multipart without boundary": ({"data": b"x", "content_type": "multipart/form-data"}, 400, "MISSING_IMAGE"),
    "empty base64": ({"json": {"image": ""}}, 400, "MISSING_IMAGE"),
    "null base64": ({"json": {"image": None}}, 400, "MISSING_IMAGE"),
    "junk base64": ({"json": {"image": "not@base64!"}}, 400, "INVALID_BASE64"),
    "non-ASCII base64": ({"json": {"image": "ÿÿÿÿ"}}, 400, "INVALID_BASE64"),
    "base64 of nothing": ({"json": {"image": "data:image/png;base64,"}}, 400, "EMPTY_FILE"),
    "data URI that is not base64": ({"json": {"image": "data:image/svg+xml,<svg/>"}}, 400, "INVALID_BASE64"),
    "base64 of text": ({"json": {"image": base64.b64encode(b"hello").decode()}}, 415, "UNSUPPORTED_FORMAT"),
    "text": ({"data": b"hello", "content_type": "text/plain"}, 415, "UNSUPPORTED_FORMAT"),
    "PDF as JPEG": ({"data": {"file": part(b"%PDF-1.7")}}, 415, "UNSUPPORTED_FORMAT"),
    "SVG": (
        {"data": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "content_type": "image/svg+xml"},
        415,
        "UNSUPPORTED_FORMAT",
    ),
    "broken JSON": ({"data": b"{", "content_type": "application/json"}, 400, "INVALID_JSON"),
    "JSON that is not an object": ({"data": b"[1]", "content_type": "application/json"}, 400, "INVALID_JSON"),
    "JSON in another encoding": ({"data": b'{"a":"\xff"}', "content_type": "application/json"}, 400, "INVALID_JSON"),
    "deep JSON": ({"data": b'{"a":' * 100_000, "content_type": "application/json"}, 400, "INVALID_JSON"),
    "nested JSON": ({"json": {"image": TEXT, "crop": {"a": 1}}}, 400, "INVALID_PARAMETER"),
    "a list in JSON": ({"json": {"image": [TEXT]}}, 400, "INVALID_PARAMETER"),
    "a name twice in JSON": ({"data": b'{"image":"a","image":"b"}'}, 400, "INVALID_PARAMETER"),
    "a field twice": ({"data": {"file": part(), "quality": ["50", "60"]}}, 400, "INVALID_PARAMETER"),
    "a query field twice": ({"data": PHOTO, "query_string": "crop=1&crop=0"}, 400, "INVALID_PARAMETER"),
    "two background files": ({"data": {"file": part(), "background_file": [part(), part()]}}, 400, "INVALID_PARAMETER"),
    "background that is not an image": (
        {"data": {"file": part(), "background_file": part(b"hi")}},
        415,
        "UNSUPPORTED_FORMAT",
    ),
    "broken form": ({"data": b"a&b&c", "content_type": "application/x-www-form-urlencoded"}, 400, "MISSING_IMAGE"),
}


@pytest.mark.parametrize(("request_", "status", "code"), BAD.values(), ids=BAD.keys())
def test_an_invalid_body_is_one_clear_error(
    request_: dict[str, Any], status: int, code: str, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    response = fast_client.post(URL, **request_)
    assert (response.status_code, response.json["code"]) == (status, code)  # type: ignore[index]
    assert fake_pool.requests == []


def without_file_name(name: str, content_type: str = "Content-Type: image/jpeg\r\n") -> dict[str, Any]:
    head = f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n{content_type}\r\n'
    return {"data": head.encode() + PHOTO + b"\r\n--X--\r\n", "content_type": "multipart/form-data; boundary=X"}


@pytest.mark.parametrize("content_type", ["", "Content-Type: image/jpeg\r\n", "Content-Type: text/plain\r\n"])
@pytest.mark.parametrize("name", ["file", "image"])
def test_a_part_without_a_file_name_is_a_file_if_it_is_an_image(
    name: str, content_type: str, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    assert fast_client.post(URL, **without_file_name(name, content_type)).status_code == 200
    assert fake_pool.requests[0].image == PHOTO


@pytest.mark.parametrize(("path", "name"), [("/api/remove", "file"), ("/v1.0/removebg", "image_file")])
def test_every_dialect_reads_a_part_without_a_file_name(
    path: str, name: str, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    for request in (without_file_name(name), {"data": {f"{name}[0]": part()}}):
        assert fast_client.post(path, **request).status_code == 200
    assert [request.image for request in fake_pool.requests] == [PHOTO] * 2


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_missing_boundary_is_named(content_type: str, fast_client: FlaskClient) -> None:
    body = fast_client.post(URL, data=without_file_name("file")["data"], content_type=content_type).json
    assert body is not None and body["code"] == "MISSING_IMAGE"
    assert body["message"] == "The Content-Type 'multipart/form-data' has no boundary."
    assert "Omit the header Content-Type" in body["solution"]


@pytest.mark.parametrize("body", [without_file_name("file")["data"], b"--X\r\n\r\nx\r\n--X--\r\n"])
def test_another_boundary_is_named(body: bytes, fast_client: FlaskClient) -> None:
    answer = fast_client.post(URL, data=body, content_type="multipart/form-data; boundary=Y").json
    assert answer is not None and "the boundary in Content-Type" in answer["message"]


def test_a_text_that_begins_like_an_image_is_a_text(fast_client: FlaskClient) -> None:
    answer = fast_client.post(URL, data={"file": part(), "preset": "BMX"}).json
    assert answer is not None and answer["message"].startswith("Parameter 'preset' must be one of")


@pytest.mark.parametrize("path", [URL, "/api/remove", "/v1.0/removebg"])
def test_the_error_of_a_missing_image_names_the_received_fields(path: str, fast_client: FlaskClient) -> None:
    answer = fast_client.post(path, data={"photo": part(), "quality": "50"})
    assert answer.status_code == 400
    assert "received fields: 'quality', 'photo'" in answer.text


def test_received_fields_are_named_up_to_a_limit(fast_client: FlaskClient) -> None:
    body = fast_client.post(URL, json={f"{number:0500}": "x" for number in range(12)}).json
    assert body is not None and body["details"].endswith(" and 2 more") and len(body["details"]) < 1200


def test_curl_without_the_at_sign_gets_advice(fast_client: FlaskClient) -> None:
    response = fast_client.post(URL, data={"file": "photo.jpg"}, content_type="multipart/form-data")
    assert "-F file=@photo.jpg" in response.json["solution"]  # type: ignore[index]


def test_an_image_of_too_many_bytes(make_client: Callable[..., FlaskClient]) -> None:
    response = make_client(max_image_bytes=1024).post(URL, data=PHOTO)
    assert (response.status_code, response.json["code"]) == (413, "FILE_TOO_LARGE")  # type: ignore[index]
    assert "1024 bytes" in response.json["solution"]  # type: ignore[index]


@pytest.mark.parametrize("kind", ["multipart", "raw"])
def test_a_body_of_too_many_bytes(kind: str, make_client: Callable[..., FlaskClient]) -> None:
    body: dict[str, Any] = {"data": {"file": part()}} if kind == "multipart" else {"data": PHOTO}
    response = make_client(max_content_length=2048).post(URL, **body)
    assert (response.status_code, response.json["code"]) == (413, "FILE_TOO_LARGE")  # type: ignore[index]


@pytest.mark.parametrize("fields", [("file", "background_file"), ("image_file", "bg_image_file")])
def test_an_error_of_the_background_names_it(fields: tuple[str, str], fast_client: FlaskClient) -> None:
    path = URL if fields[0] == "file" else "/v1.0/removebg"
    answer = fast_client.post(path, data={fields[0]: part(), fields[1]: part(b"hi")})
    assert '"background: The data is not an image in a supported format."' in answer.text


@pytest.mark.parametrize("coding", ["gzip", "BR", "identity, deflate", "zstd"])
@pytest.mark.parametrize(
    "path", [URL, "/remove-background-base64", "/api/remove", "/v1.0/removebg", "/read-file", "/jobs"]
)
def test_a_compressed_body_is_named(path: str, coding: str, fast_client: FlaskClient) -> None:
    answer = fast_client.post(path, data=b"\x1f\x8b\x08", headers={"Content-Encoding": coding})
    assert answer.status_code == (400 if path.startswith("/v1.0") else 415)
    assert f"The body is compressed (Content-Encoding: {coding})." in answer.text
    assert "Send the body without compression." in answer.text


@pytest.mark.parametrize("coding", ["", "identity", "utf-8", "binary"])
def test_other_codings_have_no_effect(coding: str, fast_client: FlaskClient) -> None:
    assert fast_client.post(URL, data=PHOTO, headers={"Content-Encoding": coding}).status_code == 200


def test_too_many_parts(fast_client: FlaskClient) -> None:
    response = fast_client.post(URL, data={f"field{i}": "x" for i in range(1100)}, content_type="multipart/form-data")
    assert (response.status_code, response.json["code"]) == (413, "TOO_MANY_PARTS")  # type: ignore[index]


def test_ten_megabytes_of_base64_in_a_form(fast_client: FlaskClient, fake_pool: FakePool) -> None:
    image = PHOTO + bytes(7_500_000)
    text = base64.b64encode(image).decode()
    # The test client would spool such a form to a file and leak it.
    body, size, boundary = stream_encode_multipart({"image": text}, use_tempfile=False)
    assert size > 10_000_000
    response = fast_client.post(URL, data=body.read(), content_type=f"multipart/form-data; boundary={boundary}")
    assert response.status_code == 200
    assert fake_pool.requests[0].image == image


DEFAULT = "background-removed.png"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shoe.jpg", "filename=shoe.png"),
        ("shoe", "filename=shoe.png"),
        ("red shoe.v2.JPEG", 'filename="red shoe.v2.png"'),
        ("../../etc/passwd", "filename=passwd.png"),
        ("C:\\Photos\\shoe.jpg", "filename=shoe.png"),
        ("..", f"filename={DEFAULT}"),
        (".jpg", "filename=jpg.png"),
        (".htaccess", "filename=htaccess.png"),
        ("", f"filename={DEFAULT}"),
        ("\0\r\n.jpg", "filename=jpg.png"),
        ("a\r\nX-Evil: 1.jpg", 'filename="aX-Evil_ 1.png"'),
        ("nul\0byte.jpg", "filename=nulbyte.png"),
        ('a"b;c.jpg', 'filename="a_b;c.png"'),
        ("100%41.jpg", "filename=100_41.png"),
        ("photo\u202egpj.exe", "filename=photogpj.png"),
        ("ü.jpg", "filename=_.png; filename*=UTF-8''%C3%BC.png"),
        ("靴 1.jpg", "filename=\"_ 1.png\"; filename*=UTF-8''%E9%9D%B4%201.png"),
        ("a" * 10_000, f"filename={'a' * 100}.png"),
    ],
)
def test_the_answer_is_named_after_the_upload(name: str, expected: str) -> None:
    assert content_disposition("attachment", name, "png", default="background-removed") == f"attachment; {expected}"


@pytest.mark.parametrize(
    ("path", "kind"), [(URL, "attachment"), (f"{URL}-preview", "inline"), ("/api/remove", "inline")]
)
def test_the_header_names_the_answer(path: str, kind: str, fast_client: FlaskClient) -> None:
    response = fast_client.post(path, data={"file": part(name="shoe.jpg")})
    assert response.headers["Content-Disposition"] == f"{kind}; filename=shoe.png"


def test_a_raw_body_has_the_default_name(fast_client: FlaskClient) -> None:
    assert fast_client.post(URL, data=PHOTO).headers["Content-Disposition"] == f"attachment; filename={DEFAULT}"


def test_the_original_keeps_the_name_of_the_upload(fast_client: FlaskClient, fake_pool: FakePool) -> None:
    failing(fake_pool, EngineCrashed())
    response = fast_client.post(f"{URL}?on_error=original", data={"file": part(name="shoe.JPG")})
    assert response.headers["Content-Disposition"] == "attachment; filename=shoe.jpeg"
