"""Body of a request: images and text fields, in any of the accepted forms."""

from __future__ import annotations

import binascii
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO

from flask import Request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from app.errors import (
    EmptyFile,
    FileTooLarge,
    InvalidBase64,
    InvalidParameter,
    MissingImage,
    MultipleSources,
    UnsupportedFormat,
)
from app.http.body_parsers import Multipart, Pair, parse_json, parse_urlencoded
from app.imaging.formats import check_image, of_background, sniff

__all__ = [
    "BACKGROUND",
    "NO_CONTENT_TYPE",
    "SOURCES",
    "Base64Decoder",
    "Parts",
    "Upload",
    "check_coding",
    "decode_base64",
    "field_name",
    "not_base64",
    "present",
    "query_texts",
    "read_json",
    "read_parts",
    "read_upload",
    "start_of_base64",
    "too_large",
]

SOURCES = ("file", "image")
BACKGROUND = "background_file"
PIECE = 65_536
NO_CONTENT_TYPE = "Omit the header Content-Type: the HTTP client writes it, with the boundary."
PADDING = "=" + string.whitespace
WHITESPACE = dict.fromkeys(map(ord, "\r\n\t "))
# In a urlencoded form, a space is a "+" that the client did not escape.
FORM_WHITESPACE = WHITESPACE | {ord(" "): "+"}
# Other values are mistakes of clients, such as "utf-8", with bodies that are not compressed.
COMPRESSIONS = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"}
MAX_NAMES = 10
MAX_NAME_LENGTH = 100
_OBJECT = re.compile(rb"\s*+\{")
_SPACE = re.compile(r"\s*+")
# PHP and some JavaScript libraries name a list of files so, also if it has one.
_INDEX = re.compile(r"\[[0-9]{0,4}\]\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upload:
    """An image, its file name, and the rest of its request; `fields` are the texts that are not empty."""

    image: bytes = field(repr=False)
    fields: dict[str, str]
    background_image: bytes = field(default=b"", repr=False)
    unknown_files: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """Contents of a body: texts that are not empty, files by field, or `raw`; `urlencoded` texts are of such a form."""

    texts: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, FileStorage]] = field(default_factory=list)
    raw: bytes = field(default=b"", repr=False)
    urlencoded: bool = False

    def received_fields(self) -> str:
        """Return the names of the received fields in words, for the error of a missing one; empty without any."""
        names = [name[:MAX_NAME_LENGTH] for name in dict.fromkeys([*self.texts, *(name for name, _ in self.files)])]
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return f"received fields: {', '.join(map(repr, names[:MAX_NAMES]))}{more}" if names else ""


def read_parts(request: Request) -> Parts:
    """Parse a multipart form, JSON, a urlencoded form or a raw body; the bytes decide before Content-Type does.

    Raises MissingImage (a malformed multipart form), FileTooLarge, TooManyParts, InvalidJson, InvalidBase64,
    InvalidParameter (a repeated field) and UnsupportedFormat (a compressed body).
    """
    check_coding(request)
    try:
        return _from_multipart(request) if request.mimetype == "multipart/form-data" else _from_body(request)
    except RequestEntityTooLarge:
        raise too_large(request) from None


def check_coding(request: Request) -> None:
    """Raise UnsupportedFormat for a compressed body."""
    coding = request.headers.get("Content-Encoding", "")
    if COMPRESSIONS.intersection(re.split(r"[\s,]+", coding.lower())):
        raise UnsupportedFormat(
            f"The body is compressed (Content-Encoding: {coding[:MAX_NAME_LENGTH]}).",
            solution="Send the body without compression.",
        )


def read_upload(request: Request, max_image_bytes: int) -> Upload:
    """Read an upload of the native dialect.

    Raises MissingImage, MultipleSources, EmptyFile, FileTooLarge, UnsupportedFormat, InvalidBase64 and the errors of
    `read_parts`.
    """
    query, parts = query_texts(request), read_parts(request)
    texts = dict(parts.texts)
    files = [part for name, part in parts.files if name in SOURCES]
    images = [part.stream.read() for part in files]
    if encoded := texts.pop("image", None):
        images.append(decode_base64(encoded, "image", urlencoded=parts.urlencoded))
    images += [parts.raw] if parts.raw else []
    if not images:
        raise _nothing(request, parts)
    if len(images) > 1:
        raise MultipleSources()
    image, background = images[0], _background(parts)
    check_image(image, max_image_bytes)
    if background:
        with of_background():
            check_image(background, max_image_bytes)
    unknown = tuple(name for name, _ in parts.files if name not in (*SOURCES, BACKGROUND))
    return Upload(image, query | texts, background, unknown, (files[0].filename or "") if files else "")


def query_texts(request: Request) -> dict[str, str]:
    """Return the query's fields that are not empty; raise InvalidParameter for a repeated one."""
    return present(request.args.items(multi=True))


def too_large(request: Request) -> FileTooLarge:
    """Return the error for a body over the limit of this request."""
    limit = request.max_content_length or 0
    return FileTooLarge(
        f"The request's body has more than {limit} bytes.", solution=f"Send a body of at most {limit} bytes."
    )


def _from_multipart(request: Request) -> Parts:
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary:
        raise MissingImage("The Content-Type 'multipart/form-data' has no boundary.", solution=NO_CONTENT_TYPE)
    form = Multipart()
    try:
        form.read(request.stream, boundary)
    except ValueError:
        message = "The body is not a complete multipart form with the boundary in Content-Type."
        raise MissingImage(message, solution=NO_CONTENT_TYPE) from None
    files = [(field_name(name), part) for name, part in form.files if part.filename or _size(part)]
    return Parts(_joined(form.texts), files)


def field_name(name: str) -> str:
    """Return a field's name without the index of a list: `file` for `file[]` and `file[0]`."""
    return _INDEX.sub("", name)


def _from_body(request: Request) -> Parts:
    body = _whole_body(request)
    if sniff(body):
        return Parts(raw=body)
    urlencoded = False
    if request.is_json or _OBJECT.match(body):
        pairs = parse_json(body) if body else []
    elif request.mimetype == "application/x-www-form-urlencoded":
        pairs, urlencoded = parse_urlencoded(body), True
    else:
        return Parts(raw=body)
    del body  # before the pieces of its texts are joined
    return Parts(_joined(pairs), urlencoded=urlencoded)


def _nothing(request: Request, parts: Parts) -> MissingImage | EmptyFile:
    """Return the error for a request without an image."""
    if "file" in parts.texts:
        return MissingImage(
            "The field 'file' holds text, not a file.", solution="With curl, write -F file=@photo.jpg (with the @)."
        )
    if request.mimetype.startswith("image/"):
        return EmptyFile()
    received = parts.received_fields()
    return MissingImage("The request has no field 'file' or 'image'." if received else "", details=received)


def _background(parts: Parts) -> bytes:
    backgrounds = [part.stream.read() for name, part in parts.files if name == BACKGROUND]
    if len(backgrounds) > 1:
        raise InvalidParameter(f"Field {BACKGROUND!r} was sent more than once.")
    return b"".join(backgrounds)


def read_json(request: Request) -> dict[str, str]:
    """Read a flat JSON object; raise UnsupportedFormat, InvalidJson, or InvalidParameter (a field is not a text)."""
    check_coding(request)
    return _joined(parse_json(_whole_body(request)))


def _whole_body(request: Request) -> bytes:
    # Not parsed by Content-Type: `curl --data-binary @photo.jpg` declares a urlencoded form.
    body = request.get_data(cache=False, parse_form_data=False)
    if request.content_length is None and body:
        request.stream.read(1)  # raises at the limit, where Werkzeug ends a chunked body without an error
    if len(body) < (request.content_length or 0):
        raise ClientDisconnected
    return body


def _size(part: FileStorage) -> int:
    position = part.stream.seek(0, 2)
    part.stream.seek(0)
    return position


def _joined(pairs: Iterable[Pair]) -> dict[str, str]:
    return present((name, "".join(pieces)) for name, pieces in pairs)


def present(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return fields that are not empty; raise InvalidParameter for a repeated one."""
    fields: dict[str, str] = {}
    for name, text in pairs:
        if name in fields:
            raise InvalidParameter(f"Field {name[:100]!r} was sent more than once.", parameter=name)
        fields[name] = text
    return {name: text for name, text in fields.items() if text}


def decode_base64(text: str, name: str, *, urlencoded: bool = False) -> bytes:
    """Decode standard base64, with or without data URI prefix, white space and padding; raise InvalidBase64.

    In a urlencoded form, a space is a '+' that the client did not escape. `name` is the field's, for the error.
    """
    start, end, decoded = start_of_base64(text, name), len(text.rstrip(PADDING)), BytesIO()
    decoder = Base64Decoder(decoded.write, FORM_WHITESPACE if urlencoded else WHITESPACE)
    try:
        for at in range(start, end, PIECE):  # piece by piece: the text without white space would be another copy
            decoder.feed(text[at : min(at + PIECE, end)])
        decoder.end()
    except ValueError:
        raise not_base64(name) from None
    return decoded.getvalue()


def not_base64(name: str) -> InvalidBase64:
    """Return the error of a field that is not base64."""
    return InvalidBase64(f"The field {name!r} is not valid base64.")


def start_of_base64(text: str, name: str) -> int:
    """Return where the base64 begins, behind white space and the prefix of a data URI; raise InvalidBase64."""
    start = _end_of_space(text, 0)
    if text[start : start + 5].lower() != "data:":
        return start
    comma = text.find(",", start)
    if not text[start:comma].lower().endswith(";base64"):
        raise InvalidBase64(f"The data URI in {name!r} is not base64.")
    return _end_of_space(text, comma + 1)


def _end_of_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


class Base64Decoder:
    """Decoder of base64 in pieces, which goes to `write`; its methods raise ValueError."""

    def __init__(self, write: Callable[[bytes], object], whitespace: Mapping[int, str | None] = WHITESPACE) -> None:
        self._write, self._whitespace = write, whitespace
        self._rest, self._padded = "", False

    def feed(self, text: str) -> None:
        """Decode a piece of the text."""
        data, padding, after = text.translate(self._whitespace).partition("=")
        if (self._padded and data) or after.strip("="):
            raise ValueError("padding before the end")
        self._padded = self._padded or bool(padding)
        self._rest += data
        whole = len(self._rest) - len(self._rest) % 4
        self._write(binascii.a2b_base64(self._rest[:whole], strict_mode=True))
        self._rest = self._rest[whole:]

    def end(self) -> None:
        """Decode the rest, with or without padding."""
        self._write(binascii.a2b_base64(self._rest + "=" * (-len(self._rest) % 4), strict_mode=True))
