"""Bodies of remove.bg's dialect: one photo from one of three sources, and at most one background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flask import Request
from werkzeug.datastructures import FileStorage

from app.errors import DownloadFailed, InvalidParameter, MissingImage, MultipleSources, UrlRefused
from app.http.bodies import Parts, decode_base64, query_texts, read_parts
from app.http.removebg.parameters import BACKGROUNDS, PARAMETERS, SOURCES
from app.imaging.formats import check_image, of_background

__all__ = ["RemoveBgBody", "fetched", "read"]

Fetch = Callable[[str], bytes]
FILES = [name for name, parameter in PARAMETERS.items() if parameter.is_file]


@dataclass(frozen=True, slots=True)
class RemoveBgBody:
    """Body of a request before its URLs are fetched; absent images are empty, `fields` are the other texts."""

    image: bytes = field(repr=False)
    image_url: str
    background: bytes = field(repr=False)
    background_url: str
    fields: Mapping[str, str]
    unknown_files: frozenset[str]


def read(request: Request, max_image_bytes: int) -> RemoveBgBody:
    """Read a multipart form, JSON or a urlencoded form.

    Raise MissingImage, MultipleSources, EmptyFile, FileTooLarge, UnsupportedFormat, InvalidBase64, and InvalidJson or
    InvalidParameter (a repeated field).
    """
    query, parts = query_texts(request), read_parts(request)
    texts = query | parts.texts
    files = _one_of_each(parts.files)
    _check_counts(texts, files, parts)
    image = _image(texts, files, urlencoded=parts.urlencoded)
    background = files["bg_image_file"].stream.read() if "bg_image_file" in files else b""
    if "image_url" not in texts:
        check_image(image, max_image_bytes)
    if "bg_image_file" in files:
        with of_background():
            check_image(background, max_image_bytes)
    return RemoveBgBody(
        image,
        texts.get("image_url", ""),
        background,
        texts.get("bg_image_url", ""),
        {name: text for name, text in texts.items() if name not in {"image_file_b64", "image_url"}},
        frozenset(name for name, _ in parts.files if name not in FILES),
    )


def fetched(body: RemoveBgBody, fetch: Fetch, max_image_bytes: int) -> tuple[bytes, bytes]:
    """Fetch the URLs and return photo and background; raise UrlRefused, DownloadFailed, or an error of the image."""
    image, background = body.image, body.background
    if body.image_url:
        image = _from_url(body.image_url, "image_url", fetch, max_image_bytes)
    if body.background_url:
        with of_background():
            background = _from_url(body.background_url, "bg_image_url", fetch, max_image_bytes)
    return image, background


def _one_of_each(files: list[tuple[str, FileStorage]]) -> dict[str, FileStorage]:
    names = [name for name, _ in files]
    if repeated := next((name for name in FILES if names.count(name) > 1), None):
        raise InvalidParameter(f"Field {repeated!r} was sent more than once.", parameter=repeated)
    return {name: part for name, part in files if name in FILES}


def _check_counts(texts: Mapping[str, str], files: Mapping[str, FileStorage], parts: Parts) -> None:
    sources = [name for name in SOURCES if name in files or (name in texts and name not in FILES)]
    if not sources and "image_file" in texts:
        raise MissingImage(
            "The field 'image_file' contains text, not a file.",
            solution="With curl, use -F image_file=@photo.jpg (with the @).",
        )
    if not sources:
        raise MissingImage(details=parts.received_fields(), solution=f"Send exactly one of {', '.join(SOURCES)}.")
    if len(sources) > 1:
        raise MultipleSources(
            details=f"got {', '.join(sources)}", solution=f"Send exactly one of {', '.join(SOURCES)}."
        )
    backgrounds = [name for name in BACKGROUNDS if name in files or (name in texts and name not in FILES)]
    if len(backgrounds) > 1:
        raise MultipleSources(
            "The request contains more than one background.",
            details=f"got {', '.join(backgrounds)}",
            solution=f"Send at most one of {', '.join(BACKGROUNDS)}.",
            parameter="bg_image_file",
        )


def _image(texts: Mapping[str, str], files: Mapping[str, FileStorage], *, urlencoded: bool) -> bytes:
    if "image_file" in files:
        return files["image_file"].stream.read()
    encoded = texts.get("image_file_b64")
    return decode_base64(encoded, "image_file_b64", urlencoded=urlencoded) if encoded else b""


def _from_url(url: str, parameter: str, fetch: Fetch, max_image_bytes: int) -> bytes:
    try:
        image = fetch(url)
    except (UrlRefused, DownloadFailed) as error:
        error.parameter = parameter
        raise
    check_image(image, max_image_bytes)
    return image
