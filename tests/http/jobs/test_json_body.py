"""JSON bodies of jobs in pieces of any size, with any escapes, within bounds of memory."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidJson, InvalidParameter, ServiceError
from app.http.jobs.json_body import JobJson
from app.http.jobs.photos import Intake
from app.jobs.folder_files import FolderFiles
from tests.support.photos import jpeg

MAX_BYTES = 1_000_000


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    """A request without a limit of photos."""
    with Flask("test").test_request_context():
        yield


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(FolderFiles(tmp_path), "job", 100, MAX_BYTES, allows_urls=True)


def read(intake: Intake, body: bytes, size: int = 65_536) -> JobJson:
    parsed = JobJson(intake, 100_000)
    parsed.read(body[at : at + size] for at in range(0, len(body), size))
    return parsed


def contents(intake: Intake) -> list[bytes]:
    return [intake.files.read(item.key) if item.key else b"" for item in intake.items]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


SMALL, LARGE = jpeg()[:900], jpeg()[:20_000]
BODY = {
    "images": [encoded(LARGE), {"image": encoded(SMALL), "name": "s.jpg"}, f"data:image/jpeg;base64,{encoded(LARGE)}"],
    "image_urls": [],
    "quality": 85.0,
    "background": 'a "quoted" \\ text',
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, 65_536, 10_000_000])
def test_the_size_of_the_pieces_does_not_matter(intake: Intake, size: int) -> None:
    parsed = read(intake, json.dumps(BODY).encode(), size)
    assert contents(intake) == [LARGE, SMALL, LARGE]
    assert parsed.texts == {"quality": "85", "background": 'a "quoted" \\ text'}


ESCAPES: dict[str, Callable[[str], str]] = {
    "slashes": lambda text: text.replace("/", "\\/"),
    "plus": lambda text: text.replace("+", "\\u002b"),
    "equals": lambda text: text.replace("=", "\\u003D"),
    "lines": lambda text: "\\r\\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    "spaces": lambda text: " " * 5000 + text + " " * 5000,
    "no padding": lambda text: text.rstrip("="),
}


@pytest.mark.parametrize("size", [1, 4, 5, 6, 4096])
@pytest.mark.parametrize("name", ESCAPES)
def test_escapes_and_white_space_are_decoded(intake: Intake, name: str, size: int) -> None:
    body = '{"images": ["%s"]}' % ESCAPES[name](encoded(LARGE + b"xy"))  # noqa: UP031  # braces of JSON
    read(intake, body.encode(), size)
    assert contents(intake) == [LARGE + b"xy"]


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from('ab"\\/u02\n{}[],:'), max_size=60), size=st.integers(1, 9))
def test_texts_are_divided_as_json_divides_them(tmp_path_factory: pytest.TempPathFactory, text: str, size: int) -> None:
    long = "A" * 3000
    body = json.dumps({text: text, "images": [long, text + long], "note": text}).encode()
    intake = Intake(FolderFiles(tmp_path_factory.mktemp("files")), "job", 100, MAX_BYTES)
    with Flask("test").test_request_context():
        try:
            parsed = read(intake, body, size)
        except InvalidParameter:  # the text is the name of a field that must not be one
            assert text in {"images", "note"}
            return
    assert parsed.texts == {name: value for name, value in ((text, text), ("note", text)) if value}
    assert len(intake.items) == 2


BROKEN = {
    "open text": '{"images": ["abc',
    "open long text": '{"images": ["' + "A" * 5000,
    "open list": '{"images": ["' + "A" * 5000 + '"',
    "control character": '{"images": ["' + "A" * 5000 + '\n"]}',
    "short control character": '{"format": "a\nb"}',
    "more": '{"images": []} "x"',
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 20_000,
    "not UTF-8": '{"format": "\xff"}',
    "long name": '{"' + "A" * 5000 + '": 1}',
    "long option": '{"format": "' + "A" * 5000 + '"}',
    "long name of an image": '{"images": [{"name": "' + "A" * 5000 + '", "image": ""}]}',
    "long URL": '{"image_urls": ["http://' + "a" * 9000 + '"]}',
    "many objects": '{"images": [' + "{}," * 200_000 + "{}]}",
    "much white space": '{"images": [' + " " * 400_000 + "]}",
    "many short texts": '{"x": [' + ",".join(['"' + "a" * 1000 + '"'] * 200) + "]}",
}


@pytest.mark.parametrize("size", [5, 65_536])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_refused(intake: Intake, name: str, size: int) -> None:
    with pytest.raises((InvalidJson, InvalidParameter)):
        read(intake, BROKEN[name].encode("latin-1"), size)


@pytest.mark.parametrize("size", [1, 3, 65_536])
@pytest.mark.parametrize("end", ["\\\\", "\\\\\\\\", '\\"', '\\\\\\"', "\\u00e9", "é"])
def test_a_photo_that_is_not_base64_ends_at_its_quote(intake: Intake, end: str, size: int) -> None:
    body = '{"images": ["%s%s", "%s"]}' % ("A" * 4000, end, encoded(LARGE))  # noqa: UP031
    read(intake, body.encode(), size)
    assert [item.error.code if item.error else "" for item in intake.items] == ["INVALID_BASE64", ""]


def test_a_photo_over_the_limit_fails_alone(intake: Intake) -> None:
    read(intake, json.dumps({"images": [encoded(jpeg() + bytes(MAX_BYTES)), encoded(LARGE)]}).encode())
    assert [item.error.code if item.error else "" for item in intake.items] == ["FILE_TOO_LARGE", ""]


def test_long_urls_are_not_photos(intake: Intake) -> None:
    url = "https://bucket.example/photo.jpg?signature=" + "a" * 7000
    read(intake, json.dumps({"image_urls": [url]}).encode())
    assert [item.url for item in intake.items] == [url]


def pieces(count: int) -> Iterator[bytes]:
    """Yield a body with one text that has `count` pieces of 64 kB, and no end."""
    yield b'{"images": ["' + encoded(jpeg()[:300]).encode()
    for _ in range(count):
        yield b"A" * 65_536


def test_a_text_that_never_ends_takes_no_memory(intake: Intake) -> None:
    parsed = JobJson(intake, 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidJson):
            parsed.read(pieces(400))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=300), size=st.integers(1, 50))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes, size: int) -> None:
    intake: Any = Intake(FolderFiles(tmp_path_factory.getbasetemp() / "any"), "job", 100, MAX_BYTES)
    with Flask("test").test_request_context():
        try:
            read(intake, b'{"images": ["' + body, size)
        except ServiceError as error:
            assert error.status == 400
