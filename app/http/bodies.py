"""What a request carries: images and text fields, however they were sent."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from app.errors import (
    EmptyFile,
    FileTooLarge,
    InvalidBase64,
    InvalidJson,
    InvalidParameter,
    MissingImage,
    MultipleSources,
    TooManyParts,
    UnsupportedFormat,
)
from app.imaging.formats import sniff

__all__ = [
    "MemoryRequest",
    "Parts",
    "Upload",
    "check_image",
    "decode_base64",
    "query_texts",
    "read_json",
    "read_parts",
    "read_upload",
    "too_large",
]

SOURCES = ("file", "image")
BACKGROUND = "background_file"


class MemoryRequest(Request):
    """A request whose uploads stay in memory, where MAX_CONTENT_LENGTH bounds them: no temporary file to leak."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()


@dataclass(frozen=True, slots=True)
class Upload:
    """The image and what else came with it; `fields` are texts, absent ones left out."""

    image: bytes = field(repr=False)
    fields: dict[str, str]
    background_image: bytes = field(default=b"", repr=False)
    unknown_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """A body taken apart: its texts, absent ones left out, its files by field, and `raw` where it is neither."""

    texts: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, FileStorage]] = field(default_factory=list)
    raw: bytes = field(default=b"", repr=False)


def read_parts(request: Request) -> Parts:
    """Take apart a multipart form, JSON, a urlencoded form or a raw body, told apart by the bytes first.

    Raises FileTooLarge, TooManyParts, InvalidJson and InvalidParameter (a repeated field).
    """
    try:
        return _from_multipart(request) if request.mimetype == "multipart/form-data" else _from_body(request)
    except RequestEntityTooLarge:
        raise too_large(request) from None


def read_upload(request: Request, max_image_bytes: int) -> Upload:
    """Read an upload of the native dialect.

    Raises MissingImage, MultipleSources, EmptyFile, FileTooLarge, UnsupportedFormat, InvalidBase64 and what
    `read_parts` raises.
    """
    query, parts = query_texts(request), read_parts(request)
    texts = dict(parts.texts)
    images = [part.stream.read() for name, part in parts.files if name in SOURCES]
    if encoded := texts.pop("image", None):
        images.append(decode_base64(encoded, "image"))
    images += [parts.raw] if parts.raw else []
    if not images:
        raise _nothing(request, texts)
    image, background = _only(images), _background(parts)
    check_image(image, max_image_bytes)
    if background:
        check_image(background, max_image_bytes)
    unknown = tuple(name for name, _ in parts.files if name not in (*SOURCES, BACKGROUND))
    return Upload(image, query | texts, background, unknown)


def query_texts(request: Request) -> dict[str, str]:
    """Return the query's fields that are present; raise InvalidParameter for one that comes twice."""
    return _texts(request.args)


def too_large(request: Request) -> FileTooLarge | TooManyParts:
    """Tell too many bytes from too many form fields; Werkzeug raises the same for both."""
    most = request.max_content_length or 0
    announced = request.content_length
    read = request.stream.tell() if announced is None else announced
    if read < most:
        return TooManyParts(solution=f"Send at most {request.max_form_parts} fields.")
    return FileTooLarge(
        f"The request's body has more than {most} bytes.", solution=f"Send a body of at most {most} bytes."
    )


def _from_multipart(request: Request) -> Parts:
    files = [(name, part) for name, part in request.files.items(multi=True) if part.filename or _size(part)]
    return Parts(_texts(request.form), files)


def _from_body(request: Request) -> Parts:
    body = _whole_body(request)
    if sniff(body):
        return Parts(raw=body)
    if request.is_json or body.lstrip()[:1] == b"{":
        return Parts(_json_texts(body)) if body else Parts()
    if request.mimetype == "application/x-www-form-urlencoded":
        return Parts(_texts(request.form))
    return Parts(raw=body)


def _nothing(request: Request, texts: dict[str, str]) -> MissingImage | EmptyFile:
    """Return what to say where no image came."""
    if "file" in texts:
        return MissingImage(
            "The field 'file' holds text, not a file.", solution="With curl, write -F file=@photo.jpg (with the @)."
        )
    return EmptyFile() if request.mimetype.startswith("image/") else MissingImage()


def _background(parts: Parts) -> bytes:
    backgrounds = [part.stream.read() for name, part in parts.files if name == BACKGROUND]
    if len(backgrounds) > 1:
        raise InvalidParameter(f"Field {BACKGROUND!r} was sent more than once.")
    return b"".join(backgrounds)


def read_json(request: Request) -> dict[str, str]:
    """Read a body that is a flat JSON object; raise InvalidJson, or InvalidParameter for a field that is no text."""
    return _json_texts(_whole_body(request))


def _whole_body(request: Request) -> bytes:
    # Read before Flask parses: `curl --data-binary @photo.jpg` declares a urlencoded form.
    body = request.get_data(cache=True, parse_form_data=False)
    if request.content_length is None and body:
        request.stream.read(1)  # Werkzeug cuts a chunked body at the limit in silence; this raises then
    if len(body) < (request.content_length or 0):
        raise ClientDisconnected
    return body


def _only(images: list[bytes]) -> bytes:
    if len(images) > 1:
        raise MultipleSources()
    return images[0]


def check_image(image: bytes, max_bytes: int) -> None:
    """Raise EmptyFile, FileTooLarge or UnsupportedFormat for bytes that can't be an image."""
    if not image:
        raise EmptyFile()
    if len(image) > max_bytes:
        raise FileTooLarge(
            f"The image has {len(image)} bytes.", solution=f"Send an image of at most {max_bytes} bytes."
        )
    if sniff(image) is None:
        raise UnsupportedFormat()


def _size(part: FileStorage) -> int:
    position = part.stream.seek(0, 2)
    part.stream.seek(0)
    return position


def _texts(values: MultiDict[str, str]) -> dict[str, str]:
    """Return the fields that are present; raise InvalidParameter for one that comes twice."""
    return _present((name, values.getlist(name)) for name in values)


def _present(pairs: Iterable[tuple[str, list[str]]]) -> dict[str, str]:
    fields = {}
    for name, texts in pairs:
        if len(texts) > 1:
            raise InvalidParameter(f"Field {name[:100]!r} was sent more than once.", parameter=name)
        if texts[0] != "":
            fields[name] = texts[0]
    return fields


def _json_texts(body: bytes) -> dict[str, str]:
    try:
        pairs = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise InvalidJson() from None
    if not isinstance(pairs, _Pairs):
        raise InvalidJson("The JSON body is not an object.")
    texts: dict[str, list[str]] = {}
    for name, value in pairs:
        texts.setdefault(name, []).append(_json_text(name, value))
    return _present(texts.items())


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as read: names that come twice are kept, to be refused."""


def _json_text(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise InvalidParameter(f"Field {name[:100]!r} must be a text, a number or a bool.", parameter=name)


def decode_base64(text: str, name: str) -> bytes:
    """Decode standard base64, with or without a data URI's prefix, line breaks and padding; raise InvalidBase64.

    A space is a '+' that a client forgot to escape in a form. `name` is the field's, for the error.
    """
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise InvalidBase64(f"The data URI in {name!r} is not base64.")
    compact = text.strip().translate({ord("\r"): None, ord("\n"): None, ord("\t"): None, ord(" "): "+"})
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidBase64(f"The field {name!r} is not valid base64.") from None
