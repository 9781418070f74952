"""Every failure as JSON: one renderer per dialect, chosen by the path, also where no route matches."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from app import errors
from app.http.answers import Error, json_response
from app.http.bodies import too_large
from app.http.headers import RETRY_AFTER
from app.observability import request_ids

__all__ = ["Renderer", "init_app", "render_below"]

log = logging.getLogger(__name__)

Renderer = Callable[[errors.ServiceError], Response]


def init_app(app: Flask) -> None:
    """Answer every exception with a ServiceError, in the native shape unless `render_below` says otherwise."""
    app.extensions["renderers"] = {}
    app.register_error_handler(errors.ServiceError, _render)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _unexpected)


def render_below(app: Flask, prefix: str, renderer: Renderer) -> None:
    """Have every error at a path that starts with `prefix` rendered in a dialect's own shape."""
    app.extensions["renderers"][prefix] = renderer


def _render(error: errors.ServiceError) -> Response:
    g.error_code = error.code
    renderers: dict[str, Renderer] = current_app.extensions["renderers"]
    return next((own for prefix, own in renderers.items() if request.path.startswith(prefix)), _native)(error)


def _native(error: errors.ServiceError) -> Response:
    response = json_response(Error.of(error, request_ids.current()), error.status)
    if error.retry_after is not None and error.status in {429, 503}:
        response.headers[RETRY_AFTER.name] = str(error.retry_after)
    return response


def _from_http(error: HTTPException) -> Response:
    """Translate what Flask and Werkzeug raise; redirects pass through, headers like Allow are kept."""
    original = error.get_response()
    if error.code is None or error.code < 400:
        return Response(original.get_data(), status=error.code, headers=dict(original.headers))
    response = _render(_translate(error))
    if "Allow" in original.headers:
        response.headers["Allow"] = original.headers["Allow"]
    return response


def _translate(error: HTTPException) -> errors.ServiceError:
    if error.code == 404:
        return errors.NotFound()
    if error.code == 405:
        return errors.MethodNotAllowed()
    if error.code == 413:
        return too_large(request)
    if error.code is not None and error.code < 500:
        return errors.InvalidParameter("The request cannot be read.", details=error.name)
    return errors.InternalError()


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return _render(errors.InternalError())
