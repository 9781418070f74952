"""JSON body of a job, read while it arrives: long texts are photos in base64, which are decoded into their files.

What remains is a small JSON object with a unique short text in place of each photo. Parsers such as ijson hold the
whole text of a photo in memory, more than once.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from app.errors import InvalidBase64, InvalidJson, InvalidParameter
from app.http.bodies import Base64Decoder, not_base64, present, start_of_base64
from app.http.body_parsers import MAX_FIELD_BYTES, scalar_text, unescaped_base64
from app.http.jobs.form import IMAGE_URLS
from app.http.jobs.photos import Intake, Photo

__all__ = ["JobJson"]

IMAGES = "images"
# Bytes of a text after which it is a photo, unless it is a URL.
MAX_SHORT, MAX_URL = 2_048, 8_192
# Bytes of an incomplete escape, such as \\u002.
MAX_INCOMPLETE = 5
# Bytes between the texts of each photo.
MAX_BETWEEN = 64
_URL = re.compile(rb"\s*https?:", re.IGNORECASE)
# Possessive quantifiers: no memory per repetition.
_TEXT = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+')


class _Base64Photo:
    """A photo in base64 that arrives in pieces of a JSON text."""

    def __init__(self, photo: Photo) -> None:
        self.photo = photo
        self._decoder: Base64Decoder | None = None

    def feed(self, raw: bytes) -> None:
        """Decode a piece; the first one contains the prefix of a data URI, if any."""
        if self.photo.error is not None:
            return
        try:
            text = unescaped_base64(raw)
            if self._decoder is None:
                self._decoder = Base64Decoder(self.photo.write)
                text = text[start_of_base64(text, IMAGES) :]
            self._decoder.feed(text)
        except InvalidBase64 as error:
            self.photo.fail(error)
        except ValueError:
            self.photo.fail(not_base64(IMAGES))

    def end(self) -> Photo:
        """Finish the photo and return it."""
        try:
            if self._decoder is not None and self.photo.error is None:
                self._decoder.end()
        except ValueError:
            self.photo.fail(not_base64(IMAGES))
        self.photo.end()
        return self.photo


class JobJson:
    """JSON object whose photos go to an intake; its short texts have at most `max_text_bytes`."""

    def __init__(self, intake: Intake, max_text_bytes: int) -> None:
        self.texts: dict[str, str] = {}
        self._intake = intake
        self._text_bytes, self._bytes_between = max_text_bytes, MAX_FIELD_BYTES + MAX_BETWEEN * intake.max_photos
        self._buffer, self._rest = bytearray(), bytearray()
        self._in_text = False
        self._long: _Base64Photo | None = None
        self._photos: dict[str, Photo] = {}
        self._unique = secrets.token_hex()

    def read(self, pieces: Iterable[bytes]) -> None:
        """Read a body to its end; raise InvalidJson, InvalidParameter, and the errors of `Intake` and `Photo`."""
        for piece in pieces:
            self._buffer += piece
            while self._step():
                pass
        if self._in_text:
            raise InvalidJson()
        self._interpret(self._parsed() if self._rest.strip() else {})

    # Division into short and long texts.

    def _step(self) -> bool:
        """Use bytes of the buffer; return whether others may follow without further bytes of the body."""
        if not self._in_text:
            return self._skip_to_text()
        end = _end_of_text(self._buffer)
        if self._long is not None:
            return self._continue_photo(self._long, end)
        limit = MAX_URL if _URL.match(self._buffer) else MAX_SHORT
        if (len(self._buffer) if end is None else end) > limit:
            self._begin_photo(self._intake.photo())
            return True
        if end is None:
            return False
        self._text_bytes -= end
        self._copy(b'"' + self._buffer[: end + 1])
        return self._end_text(end)

    def _skip_to_text(self) -> bool:
        start = self._buffer.find(b'"')
        self._in_text = start >= 0
        outside = self._buffer[:start] if self._in_text else self._buffer
        self._bytes_between -= len(outside)
        self._copy(outside)
        del self._buffer[: start + 1 if self._in_text else None]
        return self._in_text

    def _begin_photo(self, photo: Photo) -> None:
        key = f"{self._unique}{len(self._photos)}"
        self._photos[key], self._long = photo, _Base64Photo(photo)
        self._copy(f'"{key}"'.encode())

    def _continue_photo(self, long: _Base64Photo, end: int | None) -> bool:
        if end is None:
            cut = _complete_escapes(self._buffer)
            long.feed(bytes(self._buffer[:cut]))
            del self._buffer[:cut]
            return False
        long.feed(bytes(self._buffer[:end]))
        long.end()
        self._long = None
        return self._end_text(end)

    def _end_text(self, end: int) -> bool:
        del self._buffer[: end + 1]
        self._in_text = False
        return True

    def _copy(self, raw: bytes | bytearray) -> None:
        if min(self._text_bytes, self._bytes_between) < 0:
            raise InvalidJson("The JSON body has too many bytes besides images.")
        self._rest += raw

    # Meaning of what remains.

    def _parsed(self) -> dict[str, Any]:
        try:
            parsed = json.loads(self._rest, object_pairs_hook=self._object)
        except (ValueError, RecursionError):
            raise InvalidJson() from None
        self._rest.clear()
        if not isinstance(parsed, dict):
            raise InvalidJson("The JSON body is not an object.")
        return parsed

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise InvalidParameter("A field of the JSON body was sent more than once.")
        return found

    def _interpret(self, fields: dict[str, Any]) -> None:
        for number, entry in enumerate(_list(fields.pop(IMAGES, None), IMAGES), start=1):
            self._add_image(number, entry)
        for url in _urls(fields.pop(IMAGE_URLS, None)):
            self._intake.add_url(url)
        presets = fields.get("presets")
        if isinstance(presets, list):
            fields["presets"] = ",".join(scalar_text("presets", each) for each in presets)
        if self._photos:  # in another place than images
            raise InvalidJson(f"The JSON body has a text of more than {MAX_SHORT} bytes outside the list 'images'.")
        self.texts = present((name, scalar_text(name, value)) for name, value in fields.items())

    def _add_image(self, number: int, entry: object) -> None:
        name, text = "", entry
        if isinstance(entry, dict):
            name, text = scalar_text("name", entry.get("name")), entry.get("image")
            if unknown := entry.keys() - {"name", "image"}:
                raise _not_an_image(number, f" It has the unknown field {min(unknown)[:100]!r}.")
        if not isinstance(text, str):
            raise _not_an_image(number)
        photo = self._photos.pop(text, None)
        self._intake.add(photo or self._short_photo(text), name)

    def _short_photo(self, text: str) -> Photo:
        photo = _Base64Photo(self._intake.photo())
        photo.feed(json.dumps(text)[1:-1].encode())
        return photo.end()


def _end_of_text(buffer: bytearray) -> int | None:
    """Return the position of the quote that ends a text, None for an incomplete one; raise InvalidJson."""
    match = _TEXT.match(buffer)
    end = match.end() if match else 0
    if end < len(buffer) and buffer[end : end + 1] == b'"':
        return end
    if end == len(buffer) or (end == len(buffer) - 1 and buffer.endswith(b"\\")):
        return None
    raise InvalidJson()


def _complete_escapes(buffer: bytearray) -> int:
    """Return the bytes without the last escape, which may be incomplete."""
    last = buffer.rfind(b"\\", max(0, len(buffer) - MAX_INCOMPLETE))
    run = last + 1 - len(buffer[: last + 1].rstrip(b"\\"))
    return last if run % 2 else len(buffer)


def _list(value: object, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidParameter(f"Field {name!r} must be a list.", parameter=name)
    return value


def _urls(value: object) -> Iterator[str]:
    for each in [value] if isinstance(value, str) else _list(value, IMAGE_URLS):
        if not isinstance(each, str):
            raise InvalidParameter(f"Field {IMAGE_URLS!r} must be a list of texts.", parameter=IMAGE_URLS)
        yield from each.split()


def _not_an_image(number: int, note: str = "") -> InvalidParameter:
    return InvalidParameter(
        f"Entry {number} of 'images' must be a text in base64, or an object with 'image' and 'name'.{note}",
        parameter=IMAGES,
    )
