"""Bad input over HTTP to a real server: each with its exact answer, and a good photo afterwards."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from tests.support.photos import encoded, jpeg, photo
from tests.support.service import Service
from tests.support.synthetic_images import png

pytestmark = pytest.mark.integration

URL = "/remove-background"
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


def part(data: bytes, name: bytes = b"photo.jpg") -> bytes:
    """Return a multipart body with one file."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
    return head + data + b"\r\n--b--\r\n"


def gif_of(frames: int) -> bytes:
    images = [Image.new("P", (32, 24), index % 250) for index in range(frames)]
    for index, image in enumerate(images):
        image.putpalette([index % 256] * 768)
    target = io.BytesIO()
    images[0].save(target, "GIF", save_all=True, append_images=images[1:], optimize=False)
    return target.getvalue()


def lying_tiff() -> bytes:
    """Return a TIFF whose tags claim 60,000 x 60,000 pixels."""
    data = bytearray(encoded(photo("coffee").resize((60, 40)), "TIFF"))
    entries = struct.unpack_from("<H", data, offset := struct.unpack_from("<I", data, 4)[0])[0]
    for at in range(offset + 2, offset + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, at)[0] in {256, 257}:
            struct.pack_into("<HI", data, at + 2, 4, 1)
            struct.pack_into("<I", data, at + 8, 60_000)
    return bytes(data)


def polyglot() -> bytes:
    """Return a PNG with a script and a ZIP appended."""
    return encoded(photo("coffee")) + b"<script>alert(1)</script>PK\x03\x04"


TEXT = base64.b64encode(jpeg("coffee")).decode()
CASES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "empty file": (part(b""), MULTIPART, 400, "EMPTY_FILE"),
    "cut short": (jpeg()[:5000], {}, 422, "CORRUPT_IMAGE"),
    "cut short PNG": (encoded(photo("coffee"))[:5000], {}, 422, "CORRUPT_IMAGE"),
    "corrupt": (b"\x89PNG\r\n\x1a\n" + bytes(1000), {}, 422, "CORRUPT_IMAGE"),
    "mislabelled": (part(jpeg("coffee"), b"photo.png"), MULTIPART, 200, ""),
    "polyglot": (polyglot(), {"Content-Type": "text/html"}, 200, ""),
    "not an image": (b"#!/bin/sh\nexit 0\n", {}, 415, "UNSUPPORTED_FORMAT"),
    "a PNG of 30,000 x 30,000": (png((30_000, 30_000), bytes(40_000)), {}, 413, "TOO_MANY_PIXELS"),
    "a GIF of ten thousand frames": (gif_of(10_000), {}, 200, ""),
    "a TIFF that lies about its size": (lying_tiff(), {}, 413, "TOO_MANY_PIXELS"),
    "1 x 1": (encoded(Image.new("RGB", (1, 1))), {}, 200, ""),
    "1 x 20,000": (encoded(Image.new("RGB", (1, 20_000))), {}, 200, ""),
    "20,000 x 1": (encoded(Image.new("RGB", (20_000, 1))), {}, 200, ""),
    "deep JSON": (b'{"a":' * 200_000, JSON, 400, "INVALID_JSON"),
    "huge JSON": (b'{"image":"' + b"A" * 17_000_000 + b'"}', JSON, 413, "FILE_TOO_LARGE"),
    "base64 with junk": (b'{"image":"' + TEXT.encode() + b'@@"}', JSON, 400, "INVALID_BASE64"),
    "10,000 form parts": (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % i for i in range(10_000))
        + b"--b--\r\n",
        MULTIPART,
        413,
        "TOO_MANY_PARTS",
    ),
    "NUL in the file name": (part(jpeg("coffee"), b"a\0b.jpg"), MULTIPART, 200, ""),
    "a path as file name": (part(jpeg("coffee"), b"../../etc/passwd"), MULTIPART, 200, ""),
    "a file name of 10 kB": (part(jpeg("coffee"), b"a" * 10_000), MULTIPART, 200, ""),
}


@pytest.fixture(scope="module")
def service(start: Callable[..., Service]) -> Iterator[Service]:
    service = start(ENGINE_PROCESSES=1)
    engines = {engine.pid for engine in service.engines()}
    yield service
    assert {engine.pid for engine in service.engines()} == engines  # no engine was replaced


@pytest.mark.parametrize(("body", "headers", "status", "code"), CASES.values(), ids=CASES.keys())
def test_bad_input(body: bytes, headers: dict[str, str], status: int, code: str, service: Service) -> None:
    answer = service.request(URL, body, headers=headers)
    assert answer.status == status, answer.body[:300]
    assert status == 200 or answer.json["code"] == code
    assert b"passwd" not in str(answer.headers).encode() and "aaaa" not in str(answer.headers)
    assert service.request(URL, jpeg("coffee")).status == 200
