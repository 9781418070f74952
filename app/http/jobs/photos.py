"""Photos of a job while they arrive: written to their files piece by piece, counted, and digested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from app.errors import InvalidParameter, ServiceError, UnsupportedFormat, UrlRefused
from app.file_names import safe_name
from app.http.limits import reserve_photos
from app.imaging.formats import HEAD_BYTES, check_size, sniff
from app.jobs.errors import JobsUnavailable, TooManyPhotos
from app.jobs.model import ItemError, NewItem
from app.jobs.store import JobFiles

__all__ = ["Intake", "Photo", "too_many_photos"]

# Bytes of a name in UTF-8: file systems allow 255, and names in a ZIP get a number and another extension.
MAX_NAME_BYTES = 200


class _Dropped(Exception):
    """The file of a photo is not wanted."""


class Photo:
    """A photo on its way to its file; one that cannot be processed gets an `error` and no file.

    Every method raises JobsUnavailable if the file cannot be written.
    """

    def __init__(self, files: JobFiles, key: str, max_bytes: int) -> None:
        self.key, self.size = key, 0
        self.error: ServiceError | None = None
        self._files, self._max_bytes = files, max_bytes
        self._head, self._digest = b"", hashlib.sha256()
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._kept = True

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self.size += len(data)
        self._digest.update(data)
        self._head += data[: HEAD_BYTES - len(self._head)]
        if self.size > self._max_bytes or (len(self._head) == HEAD_BYTES and sniff(self._head) is None):
            self.drop()
        if self._kept and data:
            with _storing():
                self._open().write(data)

    def fail(self, error: ServiceError) -> None:
        """Set the error of a photo that cannot be read."""
        self.error = self.error or error
        self.drop()

    def end(self) -> None:
        """Check the photo and close its file."""
        try:
            check_size(self.size, self._max_bytes)
            if sniff(self._head) is None:
                raise UnsupportedFormat()
        except ServiceError as error:
            self.fail(error)
        with _storing():
            self._stack.close()

    def drop(self) -> None:
        """Remove the file."""
        self._kept = False
        with _storing(), suppress(_Dropped), self._stack:
            raise _Dropped

    def content(self) -> list[str]:
        """Return what identifies the content."""
        return [self._digest.hexdigest(), self.error.code if self.error else ""]

    def item(self, name: str) -> NewItem:
        """Return the photo as an item."""
        if self.error:
            return NewItem(name, size=self.size, error=ItemError.of(self.error))
        return NewItem(name, key=self.key, size=self.size)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._stack.enter_context(self._files.create(self.key))
        return self._file


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"The photos cannot be stored: {error.strerror or 'the storage failed'}."
        raise JobsUnavailable(message) from error


@dataclass(slots=True)
class Intake:
    """Photos of a job that arrives, in order; `content` identifies them all."""

    files: JobFiles
    job_id: str
    max_photos: int
    max_photo_bytes: int
    allows_urls: bool = False
    items: list[NewItem] = field(default_factory=list)
    content: list[list[str]] = field(default_factory=list)
    background: Photo | None = None
    _counted: int = 0
    _current: Photo | None = None

    def count(self) -> None:
        """Count another photo; raise TooManyPhotos or RateLimited, with the number that fits."""
        self._counted += 1
        if self._counted > self.max_photos:
            raise too_many_photos(self.max_photos)
        reserve_photos(self._counted)

    def photo(self) -> Photo:
        """Count another photo and return it, to be written."""
        self.count()
        return self._new(f"photo-{self._counted}")

    def new_background(self) -> Photo:
        """Return the background, to be written; raise InvalidParameter for a second one."""
        if self.background is not None:
            raise InvalidParameter("Field 'background_file' was sent more than once.", parameter="background_file")
        self.background = self._new("background")
        return self.background

    def add(self, photo: Photo, upload_name: str) -> None:
        """Append a photo that has ended."""
        self._append(photo.item(display_name(upload_name, len(self.items) + 1)), photo.content())

    def add_url(self, url: str) -> None:
        """Append a photo at a URL; raise UrlRefused without ALLOW_URL_FETCH."""
        if not self.allows_urls:
            raise UrlRefused("URL fetch is disabled on this server.", solution="Send the images themselves.")
        self.count()
        name = display_name(url.partition("#")[0].partition("?")[0], len(self.items) + 1)
        self._append(NewItem(name, url=url), [url])

    def abandon(self) -> None:
        """Drop the photo that has not ended."""
        if self._current is not None:
            self._current.drop()

    def _new(self, name: str) -> Photo:
        self._current = Photo(self.files, f"{self.job_id}/{name}", self.max_photo_bytes)
        return self._current

    def _append(self, item: NewItem, content: list[str]) -> None:
        self.items.append(item)
        self.content.append([item.name, *content])


def too_many_photos(limit: int) -> TooManyPhotos:
    """Return the error of a job with more photos than JOBS_MAX_FILES."""
    return TooManyPhotos(f"The job has more than {limit} photos, the maximum of one job.")


def display_name(upload_name: str, number: int) -> str:
    """Return a name without folders and unprintable characters, of 1 to MAX_NAME_BYTES bytes."""
    name = safe_name(upload_name) or f"photo-{number}"
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 10:
        stem, extension = name, ""
    room = MAX_NAME_BYTES - len(f"{dot}{extension}".encode())
    return f"{stem.encode()[:room].decode(errors='ignore')}{'.' if extension else ''}{extension}"
