"""Native dialect: three endpoints that remove the background of a photo."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, request

from app import storage
from app.errors import DeadlineExceeded, EngineCrashed, OutOfMemory
from app.file_names import EXTENSIONS
from app.http import events, request_ids, responses
from app.http.accept import accepted_types
from app.http.admission import Slot, admitted
from app.http.bodies import Upload, read_upload
from app.http.headers import SAVED_AS
from app.http.limits import limited_by
from app.http.services import services
from app.options.parameters import NativeRequest, parse_native
from app.options.presets import apply_preset
from app.removal import RemovalResult

__all__ = ["blueprint"]

blueprint = Blueprint("native", __name__)

PREVIEW_SIDE = 1024
# Formats of AUTO; the first is for clients that accept any.
AUTO_FORMATS = {"image/png": "PNG", "image/avif": "AVIF", "image/webp": "WEBP", "image/jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class _Removal:
    """Outcome of an upload; `result` is None where the answer is the original image."""

    upload: Upload
    parsed: NativeRequest
    result: RemovalResult | None
    saved_as: str = ""

    @property
    def ignored(self) -> frozenset[str]:
        """Return the names of parameters without effect, with `save` if the result could not be stored."""
        failed = {"save"} if self.parsed.save and not self.saved_as else set()
        return self.parsed.ignored.union(failed, self.upload.unknown_files)


@blueprint.post("/remove-background")
@limited_by("rate_limit_remove_bg_per_hour")
def remove_background() -> Response:
    """Answer with the image as an attachment."""
    return _image(_remove(services().settings.max_dimension), attachment=True)


@blueprint.post("/remove-background-preview")
@limited_by("rate_limit_preview_per_hour")
def remove_background_preview() -> Response:
    """Answer with a small image, inline."""
    return _image(_remove(min(PREVIEW_SIDE, services().settings.max_dimension), preview=True), attachment=False)


@blueprint.post("/remove-background-base64")
@limited_by("rate_limit_base64_per_hour")
def remove_background_base64() -> Response:
    """Answer with JSON that contains the image."""
    removal = _remove(services().settings.max_dimension)
    if removal.result is None:
        response = responses.original_base64_response(removal.upload.image, request_ids.current())
    else:
        response = responses.base64_response(
            removal.result, removal.parsed.options, len(removal.upload.image), request_ids.current()
        )
    return _with_outcome_headers(response, removal)


def _image(removal: _Removal, *, attachment: bool) -> Response:
    if removal.result is None:
        response = responses.original_response(
            removal.upload.image, attachment=attachment, upload_name=removal.upload.name
        )
    else:
        response = responses.image_response(
            removal.result,
            removal.parsed.options,
            len(removal.upload.image),
            attachment=attachment,
            upload_name=removal.upload.name,
        )
    return _with_outcome_headers(response, removal)


def _with_outcome_headers(response: Response, removal: _Removal) -> Response:
    """Add the name of the stored file, and the parameters without effect."""
    if removal.saved_as:
        response.headers[SAVED_AS.name] = removal.saved_as
    return responses.name_ignored(response, removal.ignored)


def _remove(longest_side: int, *, preview: bool = False) -> _Removal:
    """Remove the background, with a place in the queue from here to the result."""
    with admitted() as slot:
        upload = read_upload(request, services().settings.max_image_bytes)
        events.received(len(upload.image))
        return _removed(slot, upload, _parsed(upload, longest_side, preview=preview))


def _parsed(upload: Upload, longest_side: int, *, preview: bool) -> NativeRequest:
    return parse_native(
        apply_preset(upload.fields, services().presets),
        models=services().settings.allowed_models,
        longest_side=longest_side,
        accepted_format=_accepted_format(),
        preview=preview,
    )


def _removed(slot: Slot, upload: Upload, parsed: NativeRequest) -> _Removal:
    try:
        result = slot.submit(upload.image, parsed.options, upload.background_image)
    except (OutOfMemory, EngineCrashed, DeadlineExceeded) as error:
        if parsed.on_error == "fail":
            raise
        events.fallback(error)
        return _Removal(upload, parsed, None)
    return _Removal(upload, parsed, result, _save(result) if parsed.save else "")


def _save(result: RemovalResult) -> str:
    """Store a result and return its name; "" if that fails: a full disk must not cost a finished photo."""
    try:
        return storage.save(result.body, EXTENSIONS[result.mimetype], services().settings.output_dir)
    except OSError as error:
        events.not_saved(error)
        return ""


def _accepted_format() -> str:
    best = accepted_types(request).best_match(AUTO_FORMATS, default="image/png")
    return AUTO_FORMATS[str(best)]
