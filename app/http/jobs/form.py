"""Multipart form of a job, read while it arrives: photos go to their files, texts are collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO

from werkzeug.sansio.multipart import Data, Field, File

from app.errors import MissingImage
from app.http.bodies import BACKGROUND, NO_CONTENT_TYPE, SOURCES, field_name, present
from app.http.body_parsers import Budget, decoded_text, is_image_part, multipart_events
from app.http.jobs.photos import Intake, Photo
from app.imaging.formats import HEAD_BYTES

__all__ = ["IMAGE_URLS", "JobForm"]

IMAGE_URLS = "image_urls"
NOT_A_FORM = "The body is not a complete multipart form with the boundary in Content-Type."
NOT_A_FILE = "With curl, write -F file=@photo.jpg (with the @). Base64 is accepted in JSON only."


class JobForm:
    """Form whose photos go to an intake, within the budget of its texts and parts."""

    def __init__(self, intake: Intake, budget: Budget, check: Callable[[Mapping[str, str]], object]) -> None:
        """Create an empty form; `check` refuses texts, so that those in front of a photo are refused before it."""
        self.unknown_files: list[str] = []
        self._intake, self._budget, self._check = intake, budget, check
        self._texts: list[tuple[str, str]] = []
        self._part: Field | File | None = None
        self._name = ""
        self._head: bytes | None = b""  # of a part of an unknown kind
        self._photo: Photo | None = None
        self._text: bytearray | None = None

    @property
    def texts(self) -> dict[str, str]:
        """Return the texts so far; raise InvalidParameter for a repeated one."""
        return present(self._texts)

    def read(self, stream: IO[bytes], boundary: str) -> None:
        """Read a body to its end.

        Raise MissingImage for a malformed one, TooManyParts, and the errors of `Intake` and `Photo`.
        """
        try:
            for event in multipart_events(stream, boundary):
                if isinstance(event, Field | File):
                    self._begin(event)
                elif isinstance(event, Data) and self._part is not None:
                    self._take(event.data, self._part, ended=not event.more_data)
        except ValueError:
            raise MissingImage(NOT_A_FORM, solution=NO_CONTENT_TYPE) from None

    def _begin(self, part: Field | File) -> None:
        self._budget.take(0, fields=1)
        self._part, self._name = part, field_name(part.name or "")
        self._head, self._photo, self._text = b"", None, None

    def _take(self, data: bytes, part: Field | File, *, ended: bool) -> None:
        if self._head is not None:
            data = self._head = self._head + data
            if not ended and len(data) < HEAD_BYTES:
                return
            self._choose(part, data[:HEAD_BYTES])
            self._head = None
        if self._photo is not None:
            self._photo.write(data)
        elif self._text is not None:
            self._budget.take(len(data))
            self._text += data
        if ended:
            self._end(part)

    def _choose(self, part: Field | File, head: bytes) -> None:
        """Find out by the first bytes of a part what it is; other parts than these have no effect."""
        if not _is_file(part, head):
            self._text = bytearray() if isinstance(part, Field) else None  # else an empty file input of a browser
            if self._text is not None and self._name in SOURCES:
                raise MissingImage(f"The field {self._name!r} holds text, not a file.", solution=NOT_A_FILE)
        elif self._name in SOURCES:
            if not self._intake.items:
                self._check(self.texts)
            self._photo = self._intake.photo()
        elif self._name == BACKGROUND:
            self._photo = self._intake.new_background()
        else:
            self._budget.take(len(self._name))
            self.unknown_files.append(self._name)

    def _end(self, part: Field | File) -> None:
        if self._photo is not None:
            self._photo.end()
            if self._name in SOURCES:
                self._intake.add(self._photo, part.filename if isinstance(part, File) else "")
        elif self._text is not None:
            text = decoded_text(part, bytes(self._text))
            if self._name == IMAGE_URLS:
                for url in text.split():
                    self._intake.add_url(url)
            else:
                self._budget.take(len(self._name))
                self._texts.append((self._name, text))


def _is_file(part: Field | File, head: bytes) -> bool:
    if isinstance(part, File):
        return bool(part.filename or head)
    return bool(head) and is_image_part(part, head)
