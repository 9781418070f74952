"""`/read-file`: images in UPLOAD_DIR and OUTPUT_DIR, as base64."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import BinaryIO

from flask import Blueprint, Response, request
from pydantic_core import to_json

from app.errors import FileTooLarge, InvalidParameter, NotFound, UnsupportedFormat
from app.http import request_ids
from app.http.answers import KeptFile
from app.http.bodies import read_json
from app.http.limits import limited_by
from app.http.services import services
from app.imaging.formats import HEAD_BYTES, sniff
from app.jail import open_below
from app.settings import Settings

__all__ = ["blueprint"]

blueprint = Blueprint("files", __name__)

MAX_BODY_BYTES = 65_536
# A multiple of three, so that the base64 of chunks can be joined.
CHUNK_BYTES = 3 * 65_536


@blueprint.post("/read-file")
@limited_by("rate_limit_read_file_per_hour")
def read_file() -> Response:
    """Answer with JSON that contains the image; the file is streamed, never whole in memory."""
    settings = services().settings
    request.max_content_length = MAX_BODY_BYTES
    path = read_json(request).get("path", "")
    if not path:
        raise InvalidParameter("Field 'path' is missing.", solution='Send {"path": "<name>"}.')
    file = _open(path, settings)
    try:
        size, mimetype = _checked(file, settings.max_image_bytes)
    except BaseException:
        file.close()
        raise
    return _response(file, size, mimetype)


def _open(path: str, settings: Settings) -> BinaryIO:
    for folder in (settings.upload_dir, settings.output_dir):
        if (file := open_below(folder, path)) is not None:
            return file
    raise NotFound("The file does not exist.", solution="Check the path; saved results are deleted after some time.")


def _checked(file: BinaryIO, max_bytes: int) -> tuple[int, str]:
    """Return the size and the type of an image; raise FileTooLarge or UnsupportedFormat."""
    size = file.seek(0, 2)
    if size > max_bytes:
        raise FileTooLarge(f"The file has {size} bytes.", solution=f"The limit is {max_bytes} bytes.")
    file.seek(0)
    name = sniff(file.read(HEAD_BYTES))
    if name is None:
        raise UnsupportedFormat("The file is not an image.", solution="Choose an image file.")
    return size, f"image/{name.lower()}"


def _response(file: BinaryIO, size: int, mimetype: str) -> Response:
    answer = KeptFile(success=True, image="", mimetype=mimetype, size=size, request_id=request_ids.current())
    before, after = to_json(answer).split(b'""', 1)  # at the empty `image`
    start, end = before + b'"', b'"' + after
    response = Response(_chunks(file, size, start, end), mimetype="application/json")
    response.content_length = len(start) + 4 * ((size + 2) // 3) + len(end)
    response.headers["Cache-Control"] = "no-store"
    response.call_on_close(file.close)  # in case the client hangs up before the first chunk
    return response


def _chunks(file: BinaryIO, size: int, start: bytes, end: bytes) -> Iterator[bytes]:
    with file:
        yield start
        file.seek(0)
        left = size
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:  # truncated meanwhile: the client receives an incomplete answer
                raise OSError("the file was truncated while it was read")
            left -= len(chunk)
            yield base64.b64encode(chunk)
        yield end
