"""Parsers of bodies, with bounds on what they build: an object for each `{}` of a body takes 30 times its bytes.

Files and long texts are not counted: each is one image, and a long text must be base64. All else in a body has at most
MAX_FIELD_BYTES. A text is returned as pieces, to be joined when the body is freed.
"""

from __future__ import annotations

import codecs
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any
from urllib.parse import unquote_plus

from werkzeug.datastructures import FileStorage, Headers
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Event, Field, File, MultipartDecoder, NeedData, State

from app.errors import InvalidBase64, InvalidJson, InvalidParameter, TooManyParts
from app.imaging.formats import HEAD_BYTES, sniff

__all__ = [
    "MAX_FIELDS",
    "MAX_FIELD_BYTES",
    "MAX_TEXT_BYTES",
    "PIECE",
    "Budget",
    "Multipart",
    "Pair",
    "decoded_text",
    "is_image_part",
    "multipart_events",
    "parse_json",
    "parse_urlencoded",
    "scalar_text",
    "unescaped_base64",
]

MAX_FIELDS = 1000
MAX_FIELD_BYTES = 262_144
MAX_PART_HEADER_BYTES = 32_768
TOO_LONG = {
    State.PREAMBLE: "The form does not begin with the boundary in Content-Type.",
    State.PART: "A part of the form has too many headers.",
}
# Longer texts must be ASCII: one emoji makes each character take four bytes.
MAX_TEXT_BYTES = 65_536
PIECE = 65_536

Text = list[str]
Pair = tuple[str, Text]


@dataclass(frozen=True, slots=True)
class _Escapes:
    """Escapes of one syntax that occur in base64 and data URIs; `mark` begins each, `longest` is the maximum length."""

    mark: bytes
    longest: int
    characters: Mapping[bytes, bytes]


def _hex_escapes(prefix: bytes, characters: bytes) -> dict[bytes, bytes]:
    codes = [(form.encode() % byte, bytes([byte])) for form in ("%02x", "%02X") for byte in characters]
    return {prefix + code: character for code, character in codes}


# Encoders of JSON escape "/" (PHP), "+" (.NET) or "=" (Gson), encoders of forms all three.
_JSON = _Escapes(b"\\", 6, {rb"\/": b"/", rb"\n": b"\n", rb"\r": b"\r", rb"\t": b"\t"} | _hex_escapes(rb"\u00", b"+/="))
_FORM = _Escapes(b"%", 3, {b"+": b" "} | _hex_escapes(b"%", b"+/=:;, \r\n\t"))
# Possessive quantifiers: no memory per repetition.
_PRINTABLE = re.compile(rb"[\t\n\r -~]*+")
_JSON_STRING = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"')


def parse_json(body: bytes) -> list[Pair]:
    """Parse a flat JSON object; repeated names are kept.

    Raise InvalidJson, InvalidBase64 for a long text of another kind, or InvalidParameter for a value that is not a
    text, a number or a bool.
    """
    short, long_texts = _without_long_texts(body)
    try:
        pairs = json.loads(short, object_pairs_hook=_JsonPairs)
    except (ValueError, RecursionError):
        raise InvalidJson() from None
    if not isinstance(pairs, _JsonPairs):
        raise InvalidJson("The JSON body is not an object.")
    return [(_json_name(name, long_texts), _json_text(name, value, long_texts)) for name, value in pairs]


class _JsonPairs(list[tuple[str, Any]]):
    """A JSON object with repeated names."""


def _without_long_texts(body: bytes) -> tuple[bytes, dict[str, Text]]:
    """Replace each long text by a unique short one; return the rest of the body, and the long texts by the short."""
    if len(body) <= MAX_FIELD_BYTES:
        return body, {}
    long_texts: dict[str, Text] = {}
    rest, copied, position, unique = bytearray(), 0, 0, secrets.token_hex()
    while (start := body.find(b'"', position)) >= 0:
        match = _JSON_STRING.match(body, start)
        if match is None:
            raise InvalidJson()
        position = match.end()
        if position - start > MAX_TEXT_BYTES:
            key = f"{unique}{len(long_texts)}"
            long_texts[key] = list(_long_text(memoryview(body)[start + 1 : position - 1], _JSON))
            _extend(rest, body, copied, start)
            rest += f'"{key}"'.encode()
            copied = position
        elif position - copied > MAX_FIELD_BYTES:
            break
    _extend(rest, body, copied, len(body))
    return bytes(rest), long_texts


def _extend(rest: bytearray, body: bytes, start: int, end: int) -> None:
    if len(rest) + end - start > MAX_FIELD_BYTES:
        raise InvalidJson(f"The JSON body has more than {MAX_FIELD_BYTES} bytes besides the image.")
    rest += body[start:end]


def _json_name(name: str, long_texts: Mapping[str, Text]) -> str:
    if name in long_texts:
        raise InvalidJson(f"The JSON body has a name of more than {MAX_TEXT_BYTES} bytes.")
    return _encodable(name)


def _json_text(name: str, value: object, long_texts: Mapping[str, Text]) -> Text:
    if isinstance(value, str) and value in long_texts:
        return long_texts[value]
    return [scalar_text(name, value)]


def scalar_text(name: str, value: object) -> str:
    """Return a value of JSON as the text of a parameter, empty for null; raise InvalidParameter for another type."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # languages without whole numbers write 85.0
        value = int(value)
    if isinstance(value, str | int | float):
        return _encodable(str(value))
    raise InvalidParameter(f"Field {name[:100]!r} must be a text, a number or a bool.", parameter=name)


def _encodable(text: str) -> str:
    """Return the text with lone surrogates as escapes: no header or log can hold them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _long_text(raw: memoryview, escapes: _Escapes) -> Iterator[str]:
    """Yield the pieces of a long text; raise InvalidBase64 if it has other characters than those of base64."""
    start = 0
    while start < len(raw):
        piece = bytes(raw[start : start + PIECE])
        if start + len(piece) < len(raw):
            cut = piece.rfind(escapes.mark, len(piece) - escapes.longest + 1)  # of an escape that may be incomplete
            piece = piece[:cut] if cut > 0 else piece
        start += len(piece)
        yield _unescaped(piece, escapes)


def unescaped_base64(piece: bytes) -> str:
    """Return a piece of a JSON text without its escapes; raise InvalidBase64 for characters that base64 has not."""
    return _unescaped(piece, _JSON) if _JSON.mark in piece else _ascii(piece)


def _unescaped(piece: bytes, escapes: _Escapes) -> str:
    for escape, character in escapes.characters.items():
        piece = piece.replace(escape, character)
    if escapes.mark in piece:
        raise _not_base64()
    return _ascii(piece)


def _ascii(raw: bytes | memoryview) -> str:
    try:
        return str(raw, "ascii")
    except UnicodeDecodeError:
        raise _not_base64() from None


def _not_base64() -> InvalidBase64:
    return InvalidBase64(f"A text of more than {MAX_TEXT_BYTES} bytes is not base64.")


@dataclass(slots=True)
class Budget:
    """Bytes besides images, and fields, that a form may have."""

    max_bytes: int = MAX_FIELD_BYTES
    max_fields: int = MAX_FIELDS
    bytes: int = 0
    fields: int = 0

    def take(self, size: int, fields: int = 0) -> None:
        """Count bytes and fields; raise TooManyParts when there are too many."""
        self.bytes += size
        self.fields += fields
        if self.fields > self.max_fields:
            raise TooManyParts(solution=f"Send at most {self.max_fields} fields.")
        if self.bytes > self.max_bytes:
            raise TooManyParts(f"The form has more than {self.max_bytes} bytes besides images.")


def parse_urlencoded(body: bytes) -> list[Pair]:
    """Parse a urlencoded form; one that is not UTF-8 has no fields. Raise TooManyParts or InvalidBase64."""
    if not _is_utf8(body):
        return []
    pairs, budget, start = list[Pair](), Budget(), 0
    while start < len(body):
        end = body.find(b"&", start)
        end = len(body) if end < 0 else end
        if end > start:
            pairs.append(_form_pair(body, start, end, budget))
        start = end + 1
    return pairs


def _form_pair(body: bytes, start: int, end: int, budget: Budget) -> Pair:
    equals = body.find(b"=", start, end)
    equals = end if equals < 0 else equals
    budget.take(equals - start, fields=1)
    name = _unquoted(body[start:equals])
    size = end - equals - 1
    if size > MAX_TEXT_BYTES:
        return name, list(_long_text(memoryview(body)[equals + 1 : end], _FORM))
    budget.take(max(0, size))
    return name, [_unquoted(body[equals + 1 : end])]


def _unquoted(raw: bytes) -> str:
    return unquote_plus(raw.decode("utf-8", "replace"), errors="replace")


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), PIECE):
            decoder.decode(body[start : start + PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


class _MultipartDecoder(MultipartDecoder):
    """Decoder of forms whose part headers may be invalid UTF-8, such as a file name in Latin-1."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        """Return the headers of a part, with U+FFFD in place of bytes that are not UTF-8."""
        return super()._parse_headers(data.decode("utf-8", "replace").encode())


def multipart_events(stream: IO[bytes], boundary: str) -> Iterator[Event]:
    """Yield the events of a multipart form, then read the rest of the body.

    Raise TooManyParts for a head that is too long, ValueError for a malformed form.
    """
    if not boundary:
        raise ValueError("no boundary")
    decoder = _MultipartDecoder(boundary.encode("ascii"))
    while decoder.state is not State.EPILOGUE:
        piece = stream.read(PIECE)
        if piece.endswith(b"-"):  # of "--" behind the last boundary: werkzeug would leave "\r" in the part before it
            piece += stream.read(PIECE)
        decoder.receive_data(piece or None)
        while not isinstance(event := decoder.next_event(), NeedData):
            yield event
        if len(decoder.buffer) > MAX_PART_HEADER_BYTES and decoder.state in TOO_LONG:
            raise TooManyParts(TOO_LONG[decoder.state])
    while stream.read(PIECE):  # so that the connection can be used again
        pass


def is_image_part(part: Field | File, head: bytes) -> bool:
    """Return whether a part without a file name is an image, as some HTTP clients send it; by its first HEAD_BYTES."""
    declared = parse_options_header(part.headers.get("content-type"))[0].startswith("image/")
    return declared or (sniff(head) is not None and not _PRINTABLE.fullmatch(head))


def decoded_text(part: Field | File, data: bytes) -> str:
    """Return the content of a text part."""
    return data.decode(_charset(part.headers), "replace")


@dataclass(slots=True)
class Multipart:
    """A multipart form. `read` raises TooManyParts, InvalidBase64, or ValueError for a malformed one."""

    texts: list[Pair] = field(default_factory=list)
    files: list[tuple[str, FileStorage]] = field(default_factory=list)
    _budget: Budget = field(default_factory=Budget)
    _data: BytesIO = field(default_factory=BytesIO)
    _part: Field | File | None = None

    def read(self, stream: IO[bytes], boundary: str) -> None:
        """Read a body to its end."""
        for event in multipart_events(stream, boundary):
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Field | File):
            self._budget.take(sum(len(name) + len(value) + 4 for name, value in event.headers), fields=1)
            self._part, self._data = event, BytesIO()
        elif isinstance(event, Data) and self._part is not None:
            self._data.write(event.data)
            if not event.more_data:
                self._end_part(self._part)

    def _end_part(self, part: Field | File) -> None:
        name = part.name or ""
        if isinstance(part, File) or is_image_part(part, bytes(self._data.getbuffer()[:HEAD_BYTES])):
            # Without free space behind it: `read` returns these bytes without a copy.
            stream = BytesIO(self._data.getvalue())
            filename = part.filename if isinstance(part, File) else None
            self.files.append((name, FileStorage(stream, filename, name, headers=part.headers)))
        elif (size := self._data.tell()) > MAX_TEXT_BYTES:
            self.texts.append((name, [_ascii(self._data.getbuffer())]))
        else:
            self._budget.take(size)
            self.texts.append((name, [decoded_text(part, self._data.getvalue())]))
        self._data = BytesIO()


def _charset(headers: Headers) -> str:
    """Return the charset of a part if it is one that werkzeug accepts, else UTF-8."""
    charset = parse_options_header(headers.get("content-type"))[1].get("charset", "").lower()
    return charset if charset in {"ascii", "us-ascii", "iso-8859-1"} else "utf-8"
