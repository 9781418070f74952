"""Bad input over HTTP to a real server: the exact answer to each, its memory, and a good photo afterwards."""

from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from app.capacity import BODY_COPIES
from tests.support.photos import encoded, jpeg, photo
from tests.support.service import Service
from tests.support.synthetic_images import png
from tests.support.waiting import wait_until

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
    assert not re.search(r"/passwd|a{256}|\0", str(answer.headers))  # the answer's name is a short name alone
    assert service.request(URL, jpeg("coffee")).status == 200


SIZE = 16_700_000
MB = 1 << 20
LARGE = {
    "JSON objects": (b'{"a":[' + b"{}," * (SIZE // 3 - 10) + b"{}]}", JSON, "INVALID_JSON"),
    "form fields": (b"a&" * (SIZE // 2), {"Content-Type": "application/x-www-form-urlencoded"}, "TOO_MANY_PARTS"),
    "header lines": (b"--b\r\n" + b"a:\n" * (SIZE // 3 - 10) + b"\n\n--b--\r\n", MULTIPART, "TOO_MANY_PARTS"),
    "escaped base64": (b'{"image":"' + b"\\/9j" * (SIZE // 4 - 10) + b'"}', JSON, "CORRUPT_IMAGE"),
    "base64": (b'{"image":"' + b"/9j/" * (SIZE // 4 - 10) + b'"}', JSON, "FILE_TOO_LARGE"),
}


def memory(process: psutil.Process, key: str) -> int:
    """Return a line of /proc/PID/status, in bytes."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return 1024 * int(text.partition(f"{key}:")[2].split()[0])


@pytest.mark.parametrize(("body", "headers", "code"), LARGE.values(), ids=LARGE.keys())
def test_a_large_body_takes_the_planned_memory_and_returns_it(
    body: bytes, headers: dict[str, str], code: str, service: Service
) -> None:
    worker = service.worker()
    before = memory(worker, "VmRSS")
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    assert service.request(URL, body, headers=headers).json["code"] == code
    assert memory(worker, "VmHWM") - before < BODY_COPIES * SIZE + 8 * MB
    wait_until(lambda: memory(worker, "VmRSS") - before < 16 * MB)
