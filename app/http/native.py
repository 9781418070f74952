"""The native dialect: three ways to ask for a photo without its background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Flask, Response, current_app, request

from app import storage
from app.errors import DeadlineExceeded, EngineCrashed, OutOfMemory
from app.http import responses
from app.http.bodies import Upload, read_upload
from app.http.limits import limited_by
from app.http.params import PARAMETERS, parse_options
from app.http.presets import Preset, apply_preset
from app.http.removal import Turn, service
from app.imaging.strip import strip_metadata
from app.observability import events, request_ids
from app.removal import RemovalOptions, RemovalResult

__all__ = ["init_app"]

blueprint = Blueprint("native", __name__)

PREVIEW_SIDE = 1024
# What AUTO can answer with; the first is what a client gets that accepts anything.
AUTO_FORMATS = {"image/png": "PNG", "image/webp": "WEBP", "image/jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class _Removal:
    """What became of an upload; `original` stands in for the result where that failed and the caller wants it so."""

    upload: Upload
    options: RemovalOptions
    result: RemovalResult | None
    original: bytes = b""
    saved_as: str = ""

    @property
    def unknown_names(self) -> set[str]:
        known = {*PARAMETERS, "preset"}
        if self.options.save and not self.saved_as:
            known.remove("save")  # it was asked for, and could not be done
        return ({*self.upload.fields} - known) | {*self.upload.unknown_files}


def init_app(app: Flask, presets: Mapping[str, Preset]) -> None:
    """Serve the native endpoints, with these presets."""
    app.extensions["presets"] = presets
    app.register_blueprint(blueprint)


@blueprint.post("/remove-background")
@limited_by("rate_limit_remove_bg_per_hour")
def remove_background() -> Response:
    """Answer with the image as an attachment."""
    return _image(_remove(service().settings.max_dimension), attachment=True)


@blueprint.post("/remove-background-preview")
@limited_by("rate_limit_preview_per_hour")
def remove_background_preview() -> Response:
    """Answer with a small image to be shown."""
    return _image(_remove(min(PREVIEW_SIDE, service().settings.max_dimension)), attachment=False)


@blueprint.post("/remove-background-base64")
@limited_by("rate_limit_base64_per_hour")
def remove_background_base64() -> Response:
    """Answer with JSON that holds the image."""
    removal = _remove(service().settings.max_dimension)
    if removal.result is None:
        response = responses.original_base64_response(removal.original, request_ids.current())
    else:
        response = responses.base64_response(
            removal.result, removal.options, len(removal.upload.image), request_ids.current()
        )
    return _with_notes(response, removal)


def _image(removal: _Removal, *, attachment: bool) -> Response:
    if removal.result is None:
        response = responses.original_response(removal.original, attachment=attachment)
    else:
        response = responses.image_response(
            removal.result, removal.options, len(removal.upload.image), attachment=attachment
        )
    return _with_notes(response, removal)


def _with_notes(response: Response, removal: _Removal) -> Response:
    """Add where the result was kept, and what of the request was not done."""
    if removal.saved_as:
        response.headers["X-Saved-As"] = removal.saved_as
    return responses.name_ignored(response, removal.unknown_names)


def _remove(longest_side: int) -> _Removal:
    """Have the photo worked on, with a place in the queue from here to the result."""
    with service().turn() as turn:
        with turn.reading():
            upload = read_upload(request, service().settings.max_image_bytes)
        events.received(len(upload.image))
        return _work_on(turn, upload, _options(upload, longest_side))


def _options(upload: Upload, longest_side: int) -> RemovalOptions:
    return parse_options(
        apply_preset(upload.fields, current_app.extensions["presets"]),
        models=service().settings.allowed_models,
        longest_side=longest_side,
        accepted_format=_accepted_format(),
    )


def _work_on(turn: Turn, upload: Upload, options: RemovalOptions) -> _Removal:
    try:
        result = turn.run(upload.image, options, upload.background_image)
    except (OutOfMemory, EngineCrashed, DeadlineExceeded) as error:
        original = strip_metadata(upload.image) if options.on_error == "original" else None
        if original is None:
            raise
        events.fallback(error)
        return _Removal(upload, options, None, original)
    return _Removal(upload, options, result, saved_as=_save(result) if options.save else "")


def _save(result: RemovalResult) -> str:
    """Keep a result and return its name; a disk that is full must not cost the caller a finished photo."""
    try:
        return storage.save(result.body, responses.EXTENSIONS[result.mimetype], service().settings.output_dir)
    except OSError as error:
        events.not_saved(error)
        return ""


def _accepted_format() -> str:
    best = request.accept_mimetypes.best_match(AUTO_FORMATS, default="image/png")
    return AUTO_FORMATS[str(best)]
