"""Fuzz the parsers of bodies through the WSGI layer: `python -m tests.fuzz.fuzz_bodies --minutes 3 --seed 1`.

Each input is sent to one route, with Content-Length or through the server's decoder of chunked bodies, half of them
with damaged framing, and is parsed again with small limits. A finding is a status of 500 or more, an error in the form
of another dialect, headers of more than 4 kB, a result that differs from that of a simple parser or depends on the
pieces that arrive, a crash, more than 5 seconds or 1 GB.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from io import BytesIO
from random import Random
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl

from flask import Flask
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header
from werkzeug.test import run_wsgi_app

from app.errors import MalformedRequest, ServiceError
from app.http import bodies, body_parsers
from app.http.body_parsers import Multipart, Pair, parse_json, parse_urlencoded
from app.http.factory import build_app
from app.server.environ import ERROR
from app.settings import Settings
from tests.fuzz.bodies import damaged, seeds
from tests.fuzz.chunks import decoded
from tests.fuzz.harness import Target, run
from tests.support.configuration import NO_LIMITS
from tests.support.doubles import FakePool
from tests.support.header_bounds import MAX_HEADER_BYTES

PATHS = ("/remove-background", "/remove-background-base64", "/v1.0/removebg", "/api/remove", "/read-file")
SMALL: dict[str, Any] = {"MAX_FIELD_BYTES": 4000, "MAX_TEXT_BYTES": 40, "PIECE": 16}
PAIRS = list[tuple[str, str]]


class Pieces(BytesIO):
    """Input stream that returns fewer bytes than asked for, as a connection does."""

    def __init__(self, data: bytes, rng: Random) -> None:
        super().__init__(data)
        self._rng = rng

    def read(self, size: int | None = -1) -> bytes:
        wanted = 1 << 16 if size is None or size < 0 else size
        return super().read(self._rng.randint(min(1, wanted), wanted))

    def readinto(self, buffer: Any) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


@cache
def application() -> Flask:
    """Return an application over a pretended engine."""
    return build_app(Settings(**NO_LIMITS), FakePool().attach)


def answered(data: bytes) -> str:
    """Send one input; return the status and code of the answer."""
    content_type, _, body = data.partition(b"\n")
    rng = Random(zlib.crc32(data))
    path = rng.choice(PATHS)
    pieces, status, headers = run_wsgi_app(
        application().wsgi_app, environ(path, content_type, body, rng), buffered=True
    )
    answer = b"".join(pieces)
    number = int(status.split()[0])
    assert number < 500, (status, answer)
    size = sum(len(f"{name}: {value}\r\n") for name, value in headers)
    assert size <= MAX_HEADER_BYTES, headers
    for text in (value for header in headers for value in header):
        text.encode("latin-1")
    compare(content_type.decode("latin-1"), body)
    return f"{number} {code(path, answer) if number >= 400 else ''}"


def environ(path: str, content_type: bytes, body: bytes, rng: Random) -> dict[str, Any]:
    """Return the environment of a request, by chance without Content-Length."""
    common: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "CONTENT_TYPE": content_type.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input": Pieces(body, rng),
    }
    if rng.random() < 0.5:
        return common | {"CONTENT_LENGTH": str(len(body))}
    common |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    data = decoded(body, rng)
    if isinstance(data, str):
        return common | {"wsgi.input": BytesIO(), ERROR: MalformedRequest(details=data)}
    return common | {"wsgi.input": Pieces(data, rng)}


def code(path: str, answer: bytes) -> str:
    """Return the code of an error; raise KeyError for one in the form of another dialect."""
    parsed = json.loads(answer)
    return str(parsed["errors"][0]["code"] if path.startswith("/v1.0/") else parsed["code"])


def compare(content_type: str, body: bytes) -> None:
    """Parse with small limits, so that short texts count as long, and compare the result with a simple parser's."""
    body = body[:20_000]
    with patch.multiple(body_parsers, **SMALL), patch.object(bodies, "PIECE", SMALL["PIECE"]):
        for text in sorted(same(parse_json, simple_json, body) | same(parse_urlencoded, simple_form, body)):
            decoded_as_before(text)
    mimetype, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if mimetype == "multipart/form-data":  # in pieces of the usual size: werkzeug reads some malformed forms by them
        same(lambda data: multipart(data, boundary), lambda data: simple_multipart(data, boundary), body)


def same(parse: Callable[[bytes], Iterable[Pair]], simple: Callable[[bytes], PAIRS], body: bytes) -> set[str]:
    """Return the texts of a body that has any, when both parsers agree on them."""
    try:
        pairs = [(name, "".join(pieces)) for name, pieces in parse(body)]
    except (ServiceError, ValueError):
        return set()
    assert not pairs or sorted(pairs) == sorted(simple(body)), (pairs, simple(body))
    return {text for _, text in pairs}


def simple_json(body: bytes) -> PAIRS:
    """Parse as json alone does."""
    return [(replaced(name), text_of(value)) for name, value in json.loads(body, object_pairs_hook=list)]


def text_of(value: object) -> str:
    """Return a JSON value as text."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else replaced(str(value))


def replaced(text: str) -> str:
    """Return a text without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def simple_form(body: bytes) -> PAIRS:
    """Parse as urllib does."""
    return parse_qsl(body.decode(), keep_blank_values=True)


def multipart(body: bytes, boundary: str) -> list[Pair]:
    """Return texts and files of a form."""
    form = Multipart()
    form.read(BytesIO(body), boundary)
    return form.texts + [(name, [_content(part)]) for name, part in form.files]


def _content(part: FileStorage) -> str:
    """Return a part's bytes as text; werkzeug takes a part without a file name for text."""
    content = part.stream.read()
    return content.decode("utf-8", "replace") if part.filename is None else content.decode("latin-1")


def in_memory(
    total_content_length: int | None,
    content_type: str | None,
    filename: str | None,
    content_length: int | None = None,
) -> BytesIO:
    """Return the stream of a file."""
    return BytesIO()


def simple_multipart(body: bytes, boundary: str) -> PAIRS:
    """Parse as werkzeug does."""
    parser = MultiPartParser(in_memory)
    form, files = parser.parse(BytesIO(body), boundary.encode("ascii"), len(body))
    texts = [(name or "", text) for name, text in form.items(multi=True)]
    return texts + [(name or "", part.stream.read().decode("latin-1")) for name, part in files.items(multi=True)]


def decoded_as_before(text: str) -> None:
    """Compare the decoder of base64 with the one of the standard library."""
    if text[:5].lower() == "data:" or text.strip()[:5].lower() == "data:":
        return
    compact = text.lstrip().rstrip(bodies.PADDING).translate(bodies.WHITESPACE)
    try:
        expected = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        expected = None
    try:
        actual = bodies.decode_base64(text, "image")
    except ServiceError:
        actual = None
    assert actual == expected, (text[:200], actual, expected)


TARGET = Target(seeds, damaged, answered, seconds=5, memory=1 << 30)

if __name__ == "__main__":
    sys.exit(run(TARGET, __doc__))
