"""Requests of attackers: bodies, heads and images that are small or cheap to send and expensive to process."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageCms

from benchmarks.photos import png_bomb, sample_photo

__all__ = ["HELD", "Held", "Request", "make_requests", "slow_jpeg", "slow_profile"]

# Bytes of a large body, below the default of MAX_CONTENT_LENGTH.
LARGE = 16_000_000
FAR_TOO_LARGE = 40_000_000
ICC_STAGES = 6000
# Side in px of images of 25 megapixels, the default of MAX_PIXELS, and scans that are just allowed at that size.
SIDE, SCANS = 5000, 99
# Blocks of a scan that one end-of-band run of 15 bits covers (ITU-T T.81, G.1.2.2).
RUN_BLOCKS, RUN_BITS = 1 << 14, 15

GET, POST = b"GET /health/live", b"POST /remove-background"
HOST = b" HTTP/1.1\r\nHost: attacker\r\n"


@dataclass(frozen=True, slots=True)
class Held:
    """A connection that is kept open: bytes to send at once, then bytes for each step; it may read its answers."""

    opening: bytes
    drip: bytes = b""
    reads: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent again and again, with a pause in seconds; `uses_engine` means that an engine works on it.

    `hangs_up` closes the connection without reading the answer.
    """

    name: str
    make: Callable[[Random], bytes]
    pause: float = 1.0
    uses_engine: bool = False
    hangs_up: bool = False


UPLOAD = POST + HOST + b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
HELD = (
    Held(b""),
    Held(b"G"),
    Held(GET + HOST + b"A: ", drip=b"a"),
    Held(GET + HOST + b"Content-Length: 10\r\n\r\n"),
    Held(UPLOAD % 200_000),
    Held(UPLOAD % LARGE + b"\xff\xd8\xff", drip=b"x"),
    Held(UPLOAD % LARGE + b"\xff\xd8\xff", drip=b"x" * 4000),
    Held((b"GET /openapi.json" + HOST + b"\r\n") * 50, reads=False),
    Held(GET + HOST + b"Connection: close\r\n\r\n"),
    Held(GET + b" HTTP/1.0\r\n\r\n"),
)


def make_requests() -> list[Request]:
    """Return all requests; bodies are made once."""
    photo = sample_photo()
    fixed = [
        Request("JSON of empty objects", _posted(b'{"a":[' + b"{}," * (LARGE // 3) + b"{}]}", b"application/json"), 5),
        Request("form of empty fields", _posted(b"a&" * (LARGE // 2), b"application/x-www-form-urlencoded"), 5),
        Request("multipart of headers", _posted(*_part(b"a:\n" * (LARGE // 3))), 5),
        Request("lone surrogate", _posted(b'{"\\ud800":1}', b"application/json")),
        Request("long field names", _posted(*_long_names(photo)), 3, uses_engine=True),
        Request("chunks of 1 byte", _chunked(b"1\r\nx\r\n" * 200_000), 3),
        Request("5000 headers", lambda _: GET + HOST + b"A: b\r\n" * 5000 + b"\r\n"),
        Request("large header", lambda _: GET + HOST + b"A: " + b"b" * 70_000 + b"\r\n\r\n"),
        Request("far too large", _posted(bytes(FAR_TOO_LARGE)), 5),
        Request("malformed chunks", _malformed_chunks),
        Request("malformed head", _malformed_head, 0.2),
        Request("random image", _random_image, 1, uses_engine=True),
    ]
    return [*fixed, *_image_requests(photo)]


def _image_requests(photo: bytes) -> list[Request]:
    images = {
        f"JPEG of {SCANS} scans": (slow_jpeg(SIDE, SCANS), 8.0),
        "ICC profile of many stages": (_with_profile(slow_profile(ICC_STAGES)), 3.0),
        "PNG bomb": (png_bomb(), 3.0),
        "WEBP of one colour": (_flat("WEBP", lossless=True), 8.0),
        "GIF of one colour": (_flat("GIF"), 8.0),
    }
    requests = [Request(name, _posted(image), pause, uses_engine=True) for name, (image, pause) in images.items()]
    return [*requests, Request("photo, hangs up", _posted(photo), 0.5, uses_engine=True, hangs_up=True)]


def _posted(body: bytes, mimetype: bytes = b"image/jpeg") -> Callable[[Random], bytes]:
    head = b"Connection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (mimetype, len(body))
    whole = POST + HOST + head + body
    return lambda _random: whole


def _chunked(body: bytes) -> Callable[[Random], bytes]:
    whole = POST + HOST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    return lambda _random: whole


def _malformed_chunks(random: Random) -> bytes:
    pieces = (
        b"-1\r\nx\r\n",
        b"5\nhello\n",
        b"5\r\nhelloX",
        b"f" * 17 + b"\r\n",
        b"3;a=\x00\r\nabc\r\n",
        b"G\r\n",
        b"\r\n",
    )
    return _chunked(random.choice(pieces) * 3)(random)


def _malformed_head(random: Random) -> bytes:
    pieces = (
        b"GE T / HTTP/1.1",
        b"GET / HTTP/7.7",
        b"A : b",
        b" a",
        b"\x00",
        b"Content-Length: -1",
        b"\r\n",
        b"\xff",
        b"A",
    )
    lines = [random.choice(pieces) for _ in range(random.randrange(1, 6))]
    return b"\r\n".join([random.choice((b"GET / HTTP/1.1", *pieces)), *lines, b"", b""]) + random.randbytes(200)


def _random_image(random: Random) -> bytes:
    starts = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WEBPVP8 ")
    return _posted(random.choice(starts) + random.randbytes(random.randrange(100_000)))(random)


def _part(headers: bytes) -> tuple[bytes, bytes]:
    """Return a form of one part with these headers, and its type."""
    disposition = b'Content-Disposition: form-data; name="file"; filename="a"\r\n'
    return b"--X\r\n" + disposition + headers + b"\r\n\r\nx\r\n--X--\r\n", b"multipart/form-data; boundary=X"


def _long_names(photo: bytes) -> tuple[bytes, bytes]:
    """Return a form with a photo and unknown fields whose names grow when they are encoded, and its type."""
    names = ["😀" * 60 + str(number) for number in range(20)]
    texts = "".join(f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n1\r\n' for name in names)
    head = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return texts.encode() + head + photo + b"\r\n--X--\r\n", b"multipart/form-data; boundary=X"


def _flat(format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "teal").save(buffer, format, **options)
    return buffer.getvalue()


def _with_profile(icc: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG", icc_profile=icc)
    return buffer.getvalue()


def slow_jpeg(side: int, scans: int) -> bytes:
    """Make a grey progressive JPEG without content, of a first scan and others that are empty (ITU-T T.81, G)."""
    blocks = (-(-side // 8)) ** 2
    runs = -(-blocks // RUN_BLOCKS)
    first = _segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    empty = _segment(0xDA, b"\1\1\0\1\x3f\0") + bytes(-(-runs * RUN_BITS // 8))
    codes = bytes((1, *[0] * 15))  # one code, of one bit
    tables = _segment(0xDB, bytes((0, *[1] * 64)))
    tables += _segment(0xC4, b"\0" + codes + b"\0") + _segment(0xC4, b"\x10" + codes + b"\xe0")
    frame = _segment(0xC2, struct.pack(">BHHB3B", 8, side, side, 1, 1, 0x11, 0))
    return b"\xff\xd8" + tables + frame + first + empty * (scans - 1) + b"\xff\xd9"


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def slow_profile(stages: int) -> bytes:
    """Make an RGB profile with a chain of equal matrices as its multi-process elements (ICC.1:2022, 10.17)."""
    matrix = b"matf" + struct.pack(">IHH12f", 0, 3, 3, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    positions = struct.pack(">II", 16 + 8 * stages, len(matrix)) * stages
    elements = b"mpet" + struct.pack(">IHHI", 0, 3, 3, stages) + positions + matrix
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"s\0R\0G\0B", b"t\0e\0s\0t")
    return _with_tag(plain, b"D2B0", elements)


def _with_tag(profile: bytes, name: bytes, data: bytes) -> bytes:
    """Return a profile of version 4.4 with one more tag, at its end; the table of tags grows by 12 bytes."""
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = [struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(count)]
    table = b"".join(struct.pack(">4sII", tag, at + 12, size) for tag, at, size in tags)
    padding = bytes(-len(profile) % 4)
    added = struct.pack(">4sII", name, len(profile) + len(padding) + 12, len(data))
    rest = profile[132 + 12 * count :] + padding + data
    whole = profile[:128] + struct.pack(">I", count + 1) + table + added + rest
    return struct.pack(">I", len(whole)) + whole[4:8] + b"\x04\x40\0\0" + whole[12:]
