"""The native dialect: three ways to ask for a photo without its background."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, current_app, g, request

from app.engine.messages import RemovalOptions, RemovalRequest, RemovalResult
from app.engine.pool import EnginePool
from app.http import responses
from app.http.bodies import Upload, read_upload
from app.http.params import PARAMETERS, parse_options
from app.http.presets import Preset, apply_preset
from app.observability import request_ids
from app.settings import Settings

__all__ = ["NativeService", "blueprint"]

blueprint = Blueprint("native", __name__)

PREVIEW_SIDE = 1024
# What AUTO can answer with; the first is what a client gets that accepts anything.
AUTO_FORMATS = {"image/png": "PNG", "image/webp": "WEBP", "image/jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class NativeService:
    """What the native endpoints work with."""

    settings: Settings
    pool: EnginePool
    presets: Mapping[str, Preset]


@dataclass(frozen=True, slots=True)
class _Removal:
    upload: Upload
    options: RemovalOptions
    result: RemovalResult

    @property
    def unknown_names(self) -> set[str]:
        known = {*PARAMETERS, "preset"}
        return ({*self.upload.fields} - known) | {*self.upload.unknown_files}


@blueprint.before_app_request
def set_deadline() -> None:
    """Start the request's clock."""
    g.deadline = time.monotonic() + _service().settings.request_timeout


@blueprint.post("/remove-background")
def remove_background() -> Response:
    """Answer with the image as an attachment."""
    return _image(_remove(_service().settings.max_dimension), attachment=True)


@blueprint.post("/remove-background-preview")
def remove_background_preview() -> Response:
    """Answer with a small image to be shown."""
    return _image(_remove(min(PREVIEW_SIDE, _service().settings.max_dimension)), attachment=False)


@blueprint.post("/remove-background-base64")
def remove_background_base64() -> Response:
    """Answer with JSON that holds the image."""
    removal = _remove(_service().settings.max_dimension)
    response = responses.base64_response(
        removal.result, removal.options, len(removal.upload.image), request_ids.current()
    )
    return responses.name_ignored(response, removal.unknown_names)


def _image(removal: _Removal, *, attachment: bool) -> Response:
    response = responses.image_response(
        removal.result, removal.options, len(removal.upload.image), attachment=attachment
    )
    return responses.name_ignored(response, removal.unknown_names)


def _remove(longest_side: int) -> _Removal:
    service = _service()
    upload = read_upload(request, service.settings.max_image_bytes)
    options = parse_options(
        apply_preset(upload.fields, service.presets),
        models=service.settings.allowed_models,
        longest_side=longest_side,
        accepted_format=_accepted_format(),
    )
    job = RemovalRequest(upload.image, options, upload.background_image, request_ids.current())
    return _Removal(upload, options, service.pool.submit(job, g.deadline))


def _accepted_format() -> str:
    best = request.accept_mimetypes.best_match(AUTO_FORMATS, default="image/png")
    return AUTO_FORMATS[str(best)]


def _service() -> NativeService:
    service = current_app.extensions["native"]
    assert isinstance(service, NativeService)  # noqa: S101  # for the type checker
    return service
