"""Bodies of requests and damage to them: tokens of their syntax, repetitions, splices, flipped bits.

An input is a Content-Type, a line feed and a body.
"""

from __future__ import annotations

import base64
import json
from random import Random

from tests.support.photos import encoded, photo

__all__ = ["damaged", "seeds"]

TOKENS: dict[str, tuple[bytes, ...]] = {
    "json": (
        *(b'"', b"\\", b"\\\\", b"\\ud800", b"\\udc00", b"\\u002b", b"\\/", b"\\n", b"{", b"}", b"[", b"]", b",", b":"),
        *(b"{},", b'"a":', b"null", b"true", b"NaN", b"1e999", b"1" * 5000, b"-0.0", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
        *(b'"image"', b'"file"', b'"quality":', b'"save":true', b"=", b"\n", b" "),
    ),
    "form": (
        *(b"&", b"=", b"%", b"%2", b"%2F", b"%2b", b"%00", b"%0d%0a", b"%ff", b"%ud800", b"+", b";", b"a&", b"&&"),
        *(b"image=", b"file=", b"quality=", b"format=webp", b"=="),
    ),
    "multipart": (
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b"--X\r\n",
            b"\r\n--X\r\n",
            b"\r\n--X--\r\n",
            b"--X",
            b"--",
            b"\n ",
            b";",
        ),
        b'Content-Disposition: form-data; name="file"; filename="a"\r\n',
        b'Content-Disposition: form-data; name="image"\r\n',
        *(
            b"content-disposition:",
            b"name*=utf-8''%ff",
            b"name*0=a; name*1=b",
            b"filename=",
            b"name=",
            b'"',
            b"\\",
            b"a:\n",
        ),
        *(b"Content-Type: text/plain; charset=iso-8859-1\r\n", b"Content-Transfer-Encoding: base64\r\n", b"boundary="),
    ),
}
COMMON = (b"\0", b"\xff", b"\x80", "é".encode(), "😀".encode(), b"A" * 100, b"a", b"0")
MAX_SIZE = 4_000_000


def seeds() -> dict[str, bytes]:
    """Return one input of each form; names begin with the kind."""
    small = encoded(photo("cat").resize((8, 8)))
    image = base64.b64encode(small).decode()
    long = base64.b64encode(small + bytes(range(256)) * 600).decode()
    part = b'--X\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    texts = part % (b"quality", b"", b"50") + part % (b"format", b"", b"webp")
    json_type, form_type = b"application/json\n", b"application/x-www-form-urlencoded\n"
    multipart_type = b"multipart/form-data; boundary=X\n"
    return {
        "json small": json_type + json.dumps({"image": image, "quality": 50, "crop": True, "bg": None}).encode(),
        "json long": json_type + json.dumps({"quality": 50, "image": long, "preset": 'a\\b"ü'}).encode(),
        "json php": json_type + json.dumps({"image": long}).replace("/", "\\/").replace("+", "\\u002B").encode(),
        "json remove.bg": json_type + json.dumps({"image_file_b64": image, "size": "auto", "roi": "0 0 1 1"}).encode(),
        "json path": json_type + b'{"path": "a/b.png"}',
        "form small": form_type + b"quality=50&a=%C3%BC&image=" + image.replace("+", "%2B").encode(),
        "form long": form_type + b"format=webp&image=" + long.replace("/", "%2f").encode() + b"&b=+",
        "multipart file": multipart_type + texts + part % (b"file", b'; filename="a.png"', small) + b"--X--\r\n",
        "multipart text": multipart_type + part % (b"image", b"", long.encode()) + texts + b"--X--\r\n",
        "multipart two": multipart_type
        + part % (b"file", b"; filename=a", small)
        + part % (b"background_file", b"; filename*=utf-8''%C3%BC", small)
        + b"--X--\r\n",
    }


def damaged(rng: Random, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return the name of a seed and a damaged copy."""
    name = rng.choice(sorted(files))
    head, _, body = files[name].partition(b"\n")
    if rng.random() < 0.05:
        head = files[rng.choice(sorted(files))].partition(b"\n")[0]
    elif rng.random() < 0.05:
        head = _changed(rng, head, name, files).replace(b"\n", b"")
    for _ in range(1 + int(rng.expovariate(0.4))):
        body = _changed(rng, body, name, files)
    return name, head + b"\n" + body[:MAX_SIZE]


def _changed(rng: Random, data: bytes, name: str, files: dict[str, bytes]) -> bytes:
    start = _place(rng, data)
    end = min(len(data), start + int(rng.expovariate(1 / 8)))
    way = rng.random()
    if way < 0.45:
        return data[:start] + _token(rng, name) + data[end if rng.random() < 0.5 else start :]
    if way < 0.55:
        repeated = _token(rng, name) if rng.random() < 0.6 else data[start : end + rng.randrange(200)]
        times = min(int(2 ** rng.uniform(1, 20)), MAX_SIZE // max(1, len(repeated)))
        return data[:start] + repeated * times + data[start:]
    if way < 0.7:
        return data[:start] + data[end:]
    if way < 0.8:
        return data[:start] if rng.random() < 0.5 else data[start:]
    if way < 0.9:
        other = files[rng.choice(sorted(files))].partition(b"\n")[2]
        return data[:start] + other[_place(rng, other) :]
    return data[:start] + bytes([rng.randrange(256)]) + data[start + 1 :]


def _token(rng: Random, name: str) -> bytes:
    return rng.choice((*TOKENS[name.split()[0]], *COMMON))


def _place(rng: Random, data: bytes) -> int:
    """Return a position, often near one of the ends: the middle is mostly image."""
    near = int(rng.expovariate(1 / 80))
    if near > len(data):
        return rng.randrange(len(data) + 1)
    return rng.choice((near, len(data) - near, rng.randrange(len(data) + 1)))
