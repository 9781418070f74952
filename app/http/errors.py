"""Error handlers: every failure as JSON, by one renderer per dialect, chosen by path (also for unknown routes)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from app import errors
from app.http import request_ids
from app.http.answers import Error, json_response
from app.http.bodies import too_large
from app.http.headers import RETRY_AFTER

__all__ = ["Renderer", "init_app"]

log = logging.getLogger(__name__)

Renderer = Callable[[errors.ServiceError], Response]


def init_app(app: Flask, renderers: Mapping[str, Renderer]) -> None:
    """Render every exception as a ServiceError; `renderers` are by path prefix, all other paths are native."""

    def render(error: errors.ServiceError) -> Response:
        g.error_code = error.code
        own = (renderer for prefix, renderer in renderers.items() if request.path.startswith(f"{prefix}/"))
        return next(own, _native)(error)

    def render_http(error: HTTPException) -> Response:
        """Render exceptions of Flask and Werkzeug; redirects pass unchanged, the Allow header is kept."""
        original = error.get_response()
        if error.code is None or error.code < 400:
            return Response(original.get_data(), status=error.code, headers=dict(original.headers))
        response = render(_translate(error))
        if "Allow" in original.headers:
            response.headers["Allow"] = original.headers["Allow"]
        return response

    def render_unexpected(error: Exception) -> Response:
        log.error("unexpected error", exc_info=error)
        return render(errors.InternalError())

    app.register_error_handler(errors.ServiceError, render)
    app.register_error_handler(HTTPException, render_http)
    app.register_error_handler(Exception, render_unexpected)


def _native(error: errors.ServiceError) -> Response:
    response = json_response(Error.of(error, request_ids.current()), error.status)
    if error.retry_after is not None and error.status in {409, 429, 503}:
        response.headers[RETRY_AFTER.name] = str(error.retry_after)
    return response


def _translate(error: HTTPException) -> errors.ServiceError:
    if error.code == 404:
        return errors.NotFound()
    if error.code == 405:
        return errors.MethodNotAllowed()
    if error.code == 413:
        return too_large(request)
    if error.code is not None and error.code < 500:
        return errors.InvalidParameter("The request is invalid.")
    return errors.InternalError()
