"""Bounds on the fields of a body: what parsers build stays small, and long texts arrive unchanged."""

from __future__ import annotations

import base64
import json
import re
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from flask.testing import FlaskClient

from app.errors import InvalidBase64
from app.http.bodies import decode_base64
from app.http.body_parsers import MAX_FIELD_BYTES, MAX_TEXT_BYTES, PIECE, Multipart, parse_json, parse_urlencoded
from tests.support.doubles import FakePool
from tests.support.photos import jpeg

# Of all bytes in base64, "/" and "+" are the ones that encoders escape.
IMAGE = jpeg() + bytes(range(256)) * 1000 + b"\xff" * 300_000
TEXT = base64.b64encode(IMAGE).decode()
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=X"
SIZE = 4_000_000
HEAD = b"--X\r\nContent-Disposition: form-data; name="
END = b"\r\n--X--\r\n"


def lines(text: str, width: int = 76) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


def with_code(text: str, char: str, escape: str) -> bytes:
    return b'{"image":"%s"}' % text.replace(char, escape).encode()


ENCODINGS = {
    "JSON": (json.dumps({"image": TEXT}).encode(), JSON),
    "JSON with other fields around": (json.dumps({"a": "1", "image": TEXT, "b": '\\"', "c": 2}).encode(), JSON),
    "JSON as PHP encodes it": (with_code(TEXT, "/", "\\/"), JSON),
    "JSON as .NET encodes it": (with_code(TEXT, "+", "\\u002B"), JSON),
    "JSON as Gson encodes it": (with_code(TEXT, "=", "\\u003d"), JSON),
    "JSON with line breaks": (json.dumps({"image": "\r\n".join(lines(TEXT))}).encode(), JSON),
    "JSON with a line break at the end": (json.dumps({"image": f" {TEXT}\n"}).encode(), JSON),
    "JSON without padding": (json.dumps({"image": TEXT.rstrip("=")}).encode(), JSON),
    "JSON data URI": (json.dumps({"image": f"data:image/jpeg;base64,\n{TEXT}"}).encode(), JSON),
    "form": (b"image=" + quote_plus(TEXT).encode(), FORM),
    "form with small letters": (
        b"image=" + re.sub("%..", lambda escape: escape[0].lower(), quote_plus(TEXT)).encode(),
        FORM,
    ),
    "form without escapes": (b"a=1&image=" + TEXT.encode() + b"&b=2", FORM),
    "form with a data URI": (b"image=" + quote_plus(f"data:image/jpeg;base64,{TEXT}").encode(), FORM),
    "form with line breaks": (b"image=" + quote_plus("\r\n".join(lines(TEXT))).encode(), FORM),
    "multipart text": (HEAD + b"image\r\n\r\n" + TEXT.encode() + END, MULTIPART),
    "multipart file": (HEAD + b"file; filename=a\r\n\r\n" + IMAGE + END, MULTIPART),
}


@pytest.mark.parametrize(("body", "content_type"), ENCODINGS.values(), ids=ENCODINGS.keys())
def test_a_long_image_arrives_unchanged(
    body: bytes, content_type: str, fast_client: FlaskClient, fake_pool: FakePool
) -> None:
    answer = fast_client.post("/remove-background", data=body, content_type=content_type)
    assert answer.status_code == 200, answer.json
    assert fake_pool.requests[0].image == IMAGE


@pytest.mark.parametrize("junk", ["é", "😀", "\\u0041", "\\\\/", "\\\\n", '\\"', "@", "=", "\\ud800"])
@pytest.mark.parametrize("index", [0, 65_534, 65_535, 65_536, 65_537, 65_538, 65_539, 65_540, 100_001])
def test_a_long_text_with_other_characters_is_refused(junk: str, index: int, fast_client: FlaskClient) -> None:
    body = f'{{"image":"{TEXT[:index]}{junk}{TEXT[index:]}"}}'.encode()
    answer = fast_client.post("/remove-background", data=body, content_type=JSON)
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID_BASE64")  # type: ignore[index]


def repeated(piece: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + piece * (SIZE // len(piece)) + after


ATTACKS = {
    "JSON objects": (repeated(b"{},", b'{"a":[', b"{}]}"), JSON, "INVALID_JSON"),
    "JSON lists": (repeated(b"[],", b'{"a":[', b"[]]}"), JSON, "INVALID_JSON"),
    "JSON empty names": (repeated(b'"":0,', b"{", b'"":0}'), JSON, "INVALID_JSON"),
    "deep JSON": (repeated(b"["), JSON, "INVALID_JSON"),
    "a long number in JSON": (repeated(b"1", b'{"a":', b"}"), JSON, "INVALID_JSON"),
    "spaces in JSON": (repeated(b" ", b"{", b"}"), JSON, "INVALID_JSON"),
    "long names in JSON": (repeated(b'"%s":0,' % (b"a" * 70_000), b"{", b'"":0}'), JSON, "INVALID_JSON"),
    "texts in JSON": (repeated(b'"a":"%s",' % (b"a" * 60_000), b"{", b'"":0}'), JSON, "INVALID_JSON"),
    "quotes that are escaped": (repeated(b'\\"', b"{"), JSON, "INVALID_JSON"),
    "a text without end": (repeated(b"a", b'{"a":"'), JSON, "INVALID_JSON"),
    "one emoji in a long text": (repeated(b"a", '{"a":"😀'.encode(), b'"}'), JSON, "INVALID_BASE64"),
    "escapes in a long text": (repeated(b"\\u0041", b'{"a":"', b'"}'), JSON, "INVALID_BASE64"),
    "form fields": (repeated(b"a&"), FORM, "TOO_MANY_PARTS"),
    "empty form fields": (repeated(b"&"), FORM, "MISSING_IMAGE"),
    "form texts": (repeated(b"a=%s&" % (b"%41" * 20_000)), FORM, "TOO_MANY_PARTS"),
    "a long form name": (repeated(b"%41"), FORM, "TOO_MANY_PARTS"),
    "escapes in a long form text": (repeated(b"%41", b"image="), FORM, "INVALID_BASE64"),
    "not UTF-8": (repeated(b"\xff"), FORM, "MISSING_IMAGE"),
    "header lines": (repeated(b"a:\n", HEAD + b"a\r\n", b"\n" + END), MULTIPART, "TOO_MANY_PARTS"),
    "header lines of many parts": (repeated(b"--X\n" + b"a:\n" * 9000, b"", END), MULTIPART, "TOO_MANY_PARTS"),
    "parameters of a header": (repeated(HEAD + b"a" + b";a=1" * 5000 + b"\n\nx\n"), MULTIPART, "TOO_MANY_PARTS"),
    "a long name": (repeated(b"a", HEAD, b"\r\n\r\n" + END), MULTIPART, "TOO_MANY_PARTS"),
    "parts": (repeated(HEAD + b"a\r\n\r\nx\r\n"), MULTIPART, "TOO_MANY_PARTS"),
    "files": (repeated(HEAD + b"a;filename=b\r\n\r\nx\r\n"), MULTIPART, "TOO_MANY_PARTS"),
    "texts": (repeated(HEAD + b"a\r\n\r\n" + b"x" * 60_000 + b"\r\n"), MULTIPART, "TOO_MANY_PARTS"),
    "a preamble": (repeated(b"\r\n-"), MULTIPART, "TOO_MANY_PARTS"),
}


@pytest.mark.parametrize(("body", "content_type", "code"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_body_of_many_small_fields_is_refused(
    body: bytes, content_type: str, code: str, fast_client: FlaskClient
) -> None:
    answer = fast_client.post("/remove-background", data=body, content_type=content_type)
    assert answer.json["code"] == code, answer.json  # type: ignore[index]
    answer = fast_client.post("/v1.0/removebg", data=body, content_type=content_type)
    assert (answer.status_code, list(answer.json)) == (400, ["errors"])  # type: ignore[arg-type]


def parse(body: bytes, content_type: str) -> None:
    if content_type == MULTIPART:
        Multipart().read(BytesIO(body), "X")
    else:
        (parse_json if content_type == JSON else parse_urlencoded)(body)


@pytest.mark.parametrize(("body", "content_type", "_"), ATTACKS.values(), ids=ATTACKS.keys())
def test_memory_of_a_parser_is_bounded(body: bytes, content_type: str, _: str) -> None:
    tracemalloc.start()
    try:
        parse(body, content_type)
    except Exception:  # noqa: BLE001, S110  # outcomes are tested above
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < len(body) + 20 * MAX_FIELD_BYTES


def test_most_fields_that_fit_are_read() -> None:
    names = [f"{number:0200}" for number in range(999)]
    assert len(parse_urlencoded("&".join(names).encode())) == 999
    text = "x" * (MAX_TEXT_BYTES - 2)
    assert parse_json(json.dumps(dict.fromkeys("abc", text)).encode()) == [(name, [text]) for name in "abc"]


def test_a_piece_that_ends_inside_the_last_boundary_leaves_the_part_unchanged() -> None:
    head = HEAD + b"a\r\n\r\n"
    value = b"x" * (PIECE - len(head) - len(b"\r\n--X-"))
    form = Multipart()
    form.read(BytesIO(head + value + END), "X")
    assert form.texts == [("a", [value.decode()])]


@pytest.mark.parametrize("end", ["QUE=", "QQ==", "QQ", "QUE", "QUFB====", "QUE=====", "QQ=\n=\n"])
@pytest.mark.parametrize("shift", range(12))
def test_padding_at_any_place_of_a_piece_is_accepted(end: str, shift: int) -> None:
    text = "QUFB" * (PIECE // 4 - 2) + "\n" * shift + end
    assert decode_base64(text, "image").startswith(b"AAA")


@pytest.mark.parametrize("shift", range(12))
def test_padding_inside_a_text_is_refused(shift: int) -> None:
    with pytest.raises(InvalidBase64):
        decode_base64("QUFB" * (PIECE // 4 - 2) + "\n" * shift + "QUE=QUFB" + "QUFB" * 4, "image")


# (JSON text, the name or text that is read)
SURROGATES = [
    ("\\ud800", "\\ud800"),
    ("\\udfff\\ud800", "\\udfff\\ud800"),
    ("\\ud83d\\ude00", "😀"),
    ("a\\udc80b", "a\\udc80b"),
]


@pytest.mark.parametrize(("escaped", "read"), SURROGATES)
def test_lone_surrogates_are_read_as_escapes(escaped: str, read: str) -> None:
    body = f'{{"{escaped}":"{escaped}"}}'.encode()
    assert parse_json(body) == [(read, [read])]


@pytest.mark.parametrize(("escaped", "read"), SURROGATES)
@pytest.mark.parametrize("path", ["/remove-background", "/remove-background-base64"])
def test_a_name_with_a_surrogate_is_listed(escaped: str, read: str, path: str, fast_client: FlaskClient) -> None:
    image = base64.b64encode(jpeg()).decode()
    answer = fast_client.post(path, data=f'{{"image":"{image}","{escaped}":1}}', content_type=JSON)
    assert (answer.status_code, answer.headers["X-Ignored-Params"]) == (200, quote(read, safe=""))


@pytest.mark.parametrize(
    "name", ["quality", "format", "image", "bg_color", "image_file_b64", "size", "preset", "image_url"]
)
@pytest.mark.parametrize("path", ["/remove-background", "/v1.0/removebg", "/read-file"])
def test_a_value_with_a_surrogate_is_not_our_fault(name: str, path: str, fast_client: FlaskClient) -> None:
    fields = {"image": base64.b64encode(jpeg()).decode()} if name in {"quality", "format", "bg_color"} else {}
    answer = fast_client.post(path, data=json.dumps(fields | {name: "\ud800"}), content_type=JSON)
    assert answer.status_code < 500


def test_a_surrogate_in_a_photo_counts(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rate_limit_remove_bg_per_hour=2)
    image = base64.b64encode(jpeg()).decode()
    sent: dict[str, Any] = {"data": f'{{"image":"{image}","\\ud800":1}}', "content_type": JSON}
    assert [client.post("/remove-background", **sent).status_code for _ in range(3)] == [200, 200, 429]
